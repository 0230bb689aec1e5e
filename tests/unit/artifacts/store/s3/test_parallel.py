from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from deepicd.artifacts.store.s3.parallel import PART_BYTES, MemoryLimit, StoppedError, in_parallel


def test_results_keep_the_order_of_their_items() -> None:
    assert in_parallel(lambda item: item * 2, range(50), 4, threading.Event()) == [item * 2 for item in range(50)]


def test_the_first_error_stops_the_others_and_is_the_one_raised() -> None:
    begun, stop = threading.Barrier(2), threading.Event()

    def act(item: int) -> None:
        begun.wait(10)
        if item == 1:
            raise ValueError("what went wrong")
        assert stop.wait(10)
        raise StoppedError

    with pytest.raises(ValueError, match="what went wrong"):
        in_parallel(act, [0, 1], 2, stop)


def test_after_an_error_nothing_more_begins() -> None:
    begun: list[int] = []

    def act(item: int) -> None:
        begun.append(item)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        in_parallel(act, range(1000), 1, threading.Event())
    assert begun == [0]


def test_a_transfer_that_stopped_first_does_not_hide_the_one_that_failed() -> None:
    stop, stopped = threading.Event(), threading.Event()

    def act(item: int) -> None:
        if item == 0:
            assert stop.wait(10)
            stopped.set()
            raise StoppedError
        stop.set()
        assert stopped.wait(10)
        time.sleep(0.05)
        raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        in_parallel(act, [0, 1], 2, stop)


class Holder:
    """A thread that holds memory, for which it may have to wait, until it is released."""

    def __init__(self, limit: MemoryLimit, size: int) -> None:
        self.holds, self._release = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold, args=(limit, size), daemon=True)
        self._thread.start()

    def _hold(self, limit: MemoryLimit, size: int) -> None:
        with limit.held(size):
            self.holds.set()
            assert self._release.wait(10)

    def release(self) -> None:
        self._release.set()
        self._thread.join(10)


def test_no_more_memory_is_held_than_the_limit() -> None:
    limit = MemoryLimit(2 * PART_BYTES)
    with limit.held(PART_BYTES):
        with limit.held(1):
            waiting = Holder(limit, 1)
            assert not waiting.holds.wait(0.05)
        assert waiting.holds.wait(10)
        waiting.release()


def test_an_oversized_request_waits_until_all_memory_is_free_and_then_holds_all_of_it() -> None:
    limit = MemoryLimit(2 * PART_BYTES)
    with ExitStack() as small:
        small.enter_context(limit.held(1))
        large = Holder(limit, 3 * PART_BYTES)
        assert not large.holds.wait(0.05)
    assert large.holds.wait(10)
    next_one = Holder(limit, 1)
    assert not next_one.holds.wait(0.05)
    large.release()
    assert next_one.holds.wait(10)
    next_one.release()


def test_memory_is_free_again_after_an_error() -> None:
    limit = MemoryLimit(PART_BYTES)
    with pytest.raises(ValueError), limit.held(1):  # noqa: PT011
        raise ValueError
    again = Holder(limit, 1)
    assert again.holds.wait(10)
    again.release()


def test_several_large_requests_at_once_do_not_wait_for_each_other() -> None:
    limit = MemoryLimit(3 * PART_BYTES)

    def hold(_: int) -> None:
        for _ in range(50):
            with limit.held(2 * PART_BYTES):
                pass

    in_parallel(hold, range(4), 4, threading.Event())
