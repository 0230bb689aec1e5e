from __future__ import annotations

import threading

from deepicd.artifacts.store.s3.buffers import PART_BYTES, Buffers


class Borrower:
    """Takes a buffer, for which it may have to wait."""

    def __init__(self, buffers: Buffers, size: int) -> None:
        self.buffer: memoryview | None = None
        self._thread = threading.Thread(target=self._take, args=(buffers, size), daemon=True)
        self._thread.start()

    def _take(self, buffers: Buffers, size: int) -> None:
        self.buffer = buffers.take(size)

    def waits(self) -> bool:
        self._thread.join(0.05)
        return self._thread.is_alive()

    def goes_on(self) -> memoryview:
        self._thread.join(10)
        assert self.buffer is not None
        return self.buffer


def test_no_more_is_lent_than_there_is() -> None:
    buffers = Buffers(2 * PART_BYTES)
    lent = [buffers.take(PART_BYTES), buffers.take(1)]
    assert [len(buffer) for buffer in lent] == [PART_BYTES, 1]
    assert Borrower(buffers, 1).waits()


def test_a_buffer_that_comes_back_is_lent_again() -> None:
    buffers = Buffers(PART_BYTES)
    first = buffers.take(5)
    memory = first.obj
    buffers.give(first)
    assert buffers.take(PART_BYTES).obj is memory


def test_who_waits_goes_on_when_a_buffer_comes_back() -> None:
    buffers = Buffers(PART_BYTES)
    held = buffers.take(1)
    borrower = Borrower(buffers, 1)
    assert borrower.waits()
    buffers.give(held)
    assert len(borrower.goes_on()) == 1


def test_a_part_larger_than_everything_is_lent_alone() -> None:
    buffers = Buffers(2 * PART_BYTES)
    small = buffers.take(1)
    borrower = Borrower(buffers, 3 * PART_BYTES)
    assert borrower.waits()
    buffers.give(small)
    large = borrower.goes_on()
    assert len(large) == 3 * PART_BYTES
    next_one = Borrower(buffers, 1)
    assert next_one.waits()
    buffers.give(large)
    assert len(next_one.goes_on()) == 1
