"""Threads that copy several files at once, of which the first failure ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from deepicd.artifacts.store.s3.client import StoppedError

Item = TypeVar("Item")
Result = TypeVar("Result")


def copy_all(act: Callable[[Item, threading.Event], Result], items: Iterable[Item], at_once: int) -> list[Result]:
    """What `act` returns for each item, in their order. It is to raise `StoppedError` soon after its event was set.

    Raises:
        Exception: the first that `act` raised.
    """
    stop = threading.Event()

    def acting(item: Item) -> Result:
        if stop.is_set():
            raise StoppedError
        try:
            return act(item, stop)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(at_once, "file") as pool:
        futures = [pool.submit(acting, item) for item in items]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            # After a failure, or Ctrl-C, the others end soon; one that was stopped may have ended before the one that failed.
            if any(not future.done() or future.exception() for future in futures):
                stop.set()
                for future in futures:
                    future.cancel()
                wait(futures)
    raise_failure(futures)
    return [future.result() for future in futures]


def raise_failure(futures: Iterable[Future[Result]]) -> None:
    """Raise what failed, if something did: rather what went wrong than that the others were stopped."""
    failures = [failure for future in futures if future.done() and not future.cancelled() and (failure := future.exception())]
    for failure in sorted(failures, key=lambda failure: isinstance(failure, StoppedError)):
        raise failure
