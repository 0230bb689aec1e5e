"""Several transfers at once: memory is bounded, and the first error stops all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

PART_BYTES = 8 * 2**20
"""Bytes of one part of a multipart upload."""
MEMORY_BYTES = 96 * 2**20

Item = TypeVar("Item")
Result = TypeVar("Result")


class StoppedError(Exception):
    """This transfer was given up because another one failed."""


def in_parallel(act: Callable[[Item], Result], items: Iterable[Item], at_once: int, stop: threading.Event) -> list[Result]:
    """Results of `act`, in the order of `items`. The first error sets `stop`, and nothing more begins.

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
    errors = [error for future in futures if (error := future.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, StoppedError)):
        raise error
    return [future.result() for future in futures]


class MemoryLimit:
    """Bounds the bytes that all threads hold, in shares of a part. An oversized request waits until all are free."""

    def __init__(self, size: int = MEMORY_BYTES) -> None:
        self._shares = size // PART_BYTES
        self._free = threading.Semaphore(self._shares)
        self._turn = threading.Lock()

    @contextmanager
    def held(self, size: int) -> Iterator[None]:
        """Wait until `size` bytes may be held. A thread must not nest this: two could wait for each other."""
        shares = min(max(1, -(-size // PART_BYTES)), self._shares)
        with self._turn:  # one thread at a time collects its shares
            for _ in range(shares):
                self._free.acquire()
        try:
            yield
        finally:
            self._free.release(shares)
