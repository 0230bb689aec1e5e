from __future__ import annotations

import threading
import time

import pytest

from deepicd.artifacts.store.s3.parallel import RateLimit, StoppedError, in_parallel


def test_results_keep_the_order_of_their_items() -> None:
    assert in_parallel(lambda item: item * 2, range(50), threading.Event()) == [item * 2 for item in range(50)]


def test_the_first_error_stops_the_others_and_is_the_one_raised() -> None:
    begun, stop = threading.Barrier(2), threading.Event()

    def act(item: int) -> None:
        begun.wait(60)
        if item == 1:
            raise ValueError("what went wrong")
        assert stop.wait(60)
        raise StoppedError

    with pytest.raises(ValueError, match="what went wrong"):
        in_parallel(act, [0, 1], stop)


def test_after_an_error_nothing_more_begins() -> None:
    begun: list[int] = []

    def act(item: int) -> None:
        begun.append(item)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        in_parallel(act, range(1000), threading.Event(), at_once=1)
    assert begun == [0]


def test_a_transfer_that_stopped_first_does_not_hide_the_one_that_failed() -> None:
    stop, stopped = threading.Event(), threading.Event()

    def act(item: int) -> None:
        if item == 0:
            assert stop.wait(60)
            stopped.set()
            raise StoppedError
        stop.set()
        assert stopped.wait(60)
        time.sleep(0.05)
        raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        in_parallel(act, [0, 1], stop)


def test_callers_wait_for_the_bytes_before_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    waits: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", waits.append)
    limit = RateLimit(1000)
    for _ in range(3):
        limit.take(500)
    now[0] += 60
    limit.take(500)
    assert waits == [0.0, 0.5, 1.0, 0.0]
