from __future__ import annotations

import threading

from deepicd.artifacts.store.s3.buffers import PART_BYTES, Buffers


def test_no_more_is_lent_than_there_is() -> None:
    buffers = Buffers(2 * PART_BYTES)
    lent = [buffers.take(PART_BYTES), buffers.take(1)]
    assert [len(buffer) for buffer in lent] == [PART_BYTES, 1]
    assert buffers.take_now(1) is None


def test_a_buffer_that_comes_back_is_lent_again() -> None:
    buffers = Buffers(PART_BYTES)
    first = buffers.take(5)
    memory = first.obj
    buffers.give(first)
    again = buffers.take_now(PART_BYTES)
    assert again is not None
    assert again.obj is memory


def test_who_waits_goes_on_when_a_buffer_comes_back() -> None:
    buffers = Buffers(PART_BYTES)
    held = buffers.take(1)
    got = threading.Event()

    def wait() -> None:
        buffers.take(1)
        got.set()

    waiting = threading.Thread(target=wait)
    waiting.start()
    assert not got.wait(0.05)
    buffers.give(held)
    waiting.join(10)
    assert got.is_set()


def test_a_part_larger_than_everything_is_lent_alone() -> None:
    buffers = Buffers(2 * PART_BYTES)
    small = buffers.take(1)
    assert buffers.take_now(3 * PART_BYTES) is None
    buffers.give(small)
    large = buffers.take_now(3 * PART_BYTES)
    assert large is not None
    assert len(large) == 3 * PART_BYTES
    assert buffers.take_now(1) is None
    buffers.give(large)
    assert buffers.take_now(1) is not None
