from __future__ import annotations

import os
import queue
import signal
from collections.abc import Iterator

import pytest

from deepicd.cli.stop import SignalStop
from deepicd.errors import TerminatedError


@pytest.fixture
def stop() -> Iterator[SignalStop]:
    before = {signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)}
    made = SignalStop()
    made.install()
    yield made
    for signum, handler in before.items():
        signal.signal(signum, handler)


def test_each_signal_is_acknowledged_with_its_number_also_those_before(stop: SignalStop) -> None:
    said: queue.Queue[int] = queue.Queue()
    os.kill(os.getpid(), signal.SIGTERM)
    stop.acknowledge(said.put)
    assert said.get(timeout=60) == 1
    assert (stop.requested, stop.insisted) == (True, False)
    os.kill(os.getpid(), signal.SIGTERM)
    assert said.get(timeout=60) == 2
    assert stop.insisted


def test_a_signal_during_work_that_is_repeated_ends_it_and_is_acknowledged(stop: SignalStop) -> None:
    said: queue.Queue[int] = queue.Queue()
    stop.acknowledge(said.put)
    stop.raise_when_requested(True)
    with pytest.raises(TerminatedError, match="run again to resume"):
        os.kill(os.getpid(), signal.SIGTERM)
    assert said.get(timeout=60) == 1
