"""Threads that copy several files at once, of which the first failure ends all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from queue import Empty, SimpleQueue
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
    waiting: SimpleQueue[tuple[int, Item]] = SimpleQueue()
    for numbered in enumerate(items):
        waiting.put(numbered)
    results: dict[int, Result] = {}

    def work() -> None:
        while not stop.is_set():
            try:
                number, item = waiting.get_nowait()
            except Empty:
                return
            try:
                results[number] = act(item, stop)
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(at_once, "file") as pool:
        futures = [pool.submit(work) for _ in range(at_once)]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C: the others end soon
            stop.set()
            raise
    raise_failure(futures)
    return [results[number] for number in sorted(results)]


def raise_failure(futures: Iterable[Future[Result]]) -> None:
    """Raise what failed, if something did: rather what went wrong than that the others were stopped."""
    failures = [failure for future in futures if future.done() and not future.cancelled() and (failure := future.exception())]
    for failure in sorted(failures, key=lambda failure: isinstance(failure, StoppedError)):
        raise failure
