"""Memory for the bytes on their way: so much, and no more, over all files."""

from __future__ import annotations

import threading
from typing import cast

PART_BYTES = 8 * 2**20
"""Bytes of one part or range."""
MOST_BYTES = 96 * 2**20


class Buffers:
    """Lends buffers; one that comes back is lent again. A buffer larger than all that may be lent is lent alone."""

    def __init__(self, most: int = MOST_BYTES) -> None:
        self._most = most
        self._lent = 0
        self._free: list[bytearray] = []
        self._change = threading.Condition()

    def take(self, size: int) -> memoryview:
        """`size` writable bytes of any content, when there is room for them.

        A thread that waits here must hold none, or those who hold some might wait for each other.
        """
        length = max(size, PART_BYTES)
        with self._change:
            self._change.wait_for(lambda: self._fits(length))
            self._lent += length
            if length != PART_BYTES:
                self._free.clear()
            return memoryview(self._free.pop() if self._free else bytearray(length))[:size]

    def give(self, buffer: memoryview) -> None:
        """The buffer is not used any more."""
        whole = cast("bytearray", buffer.obj)
        with self._change:
            self._lent -= len(whole)
            if len(whole) == PART_BYTES:
                self._free.append(whole)
            self._change.notify_all()

    def _fits(self, length: int) -> bool:
        return self._lent == 0 or self._lent + length <= self._most
