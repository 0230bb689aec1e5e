from __future__ import annotations

import threading
import time

import pytest

from deepicd.artifacts.store.s3.client import StoppedError
from deepicd.artifacts.store.s3.crew import copy_all


def test_results_keep_the_order_of_their_items() -> None:
    assert copy_all(lambda item, stop: item * 2, range(50), 4) == [item * 2 for item in range(50)]


def test_the_first_failure_stops_the_others_and_is_the_one_told() -> None:
    begun = threading.Barrier(2)

    def act(item: int, stop: threading.Event) -> None:
        begun.wait(10)
        if item == 1:
            raise ValueError("what went wrong")
        assert stop.wait(10)
        raise StoppedError

    with pytest.raises(ValueError, match="what went wrong"):
        copy_all(act, [0, 1], 2)


def test_after_a_failure_nothing_more_begins() -> None:
    begun: list[int] = []

    def act(item: int, stop: threading.Event) -> None:
        begun.append(item)
        raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        copy_all(act, range(1000), 1)
    assert begun == [0]


def test_what_was_stopped_first_does_not_hide_what_failed() -> None:
    stopped = threading.Event()

    def act(item: int, stop: threading.Event) -> None:
        if item == 0:
            assert stop.wait(10)
            stopped.set()
            raise StoppedError
        stop.set()
        assert stopped.wait(10)
        time.sleep(0.05)
        raise ValueError("what went wrong")

    with pytest.raises(ValueError, match="what went wrong"):
        copy_all(act, [0, 1], 2)
