"""Parallel transfers: stops all on the first error, and limits their rate together."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

AT_ONCE = 8
"""Number of parallel transfers: files of an upload, parts of a file, and so on."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(Exception):
    """This transfer was cancelled because another one failed."""


def in_parallel(
    act: Callable[[Item], Result], items: Iterable[Item], stop: threading.Event, at_once: int = AT_ONCE
) -> list[Result]:
    """Results of `act`, in the order of `items`. The first error sets `stop`, and no further item starts.

    Raises:
        Exception: an error of `act`; `StoppedError` only if there is no other.
    """

    def guarded(item: Item) -> Result:
        if stop.is_set():
            raise StoppedError
        try:
            return act(item)
        except BaseException:
            stop.set()
            raise

    with ThreadPoolExecutor(at_once, "transfer") as pool:
        futures = [pool.submit(guarded, item) for item in items]
        try:
            wait(futures)
        except BaseException:  # Ctrl-C
            stop.set()
            raise
    if errors := [error for future in futures if (error := future.exception())]:
        raise min(errors, key=lambda error: isinstance(error, StoppedError))
    return [future.result() for future in futures]


class RateLimit:
    """Delays callers so that all of them together stay below a number of bytes per second."""

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Return when `count` bytes may be sent."""
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self._rate
        time.sleep(start - now)
