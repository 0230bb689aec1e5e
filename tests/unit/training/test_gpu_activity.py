"""Idle GPUs, by a driver's library that the test makes, since there is no driver here; and what they mean for a stage."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from deepicd.errors import StallError
from deepicd.phases import Phase
from deepicd.training.gpu_activity import IdleWatch, gpus_idle
from tests.unit.training.nvml import Nvml


@pytest.mark.parametrize(
    ("busy", "visible", "idle"),
    [
        ([0, 0], None, True),
        ([0, 9], None, False),
        ([0, 9], "0", True),
        ([0, 9], "GPU-1", False),
        ([0, None], None, None),
        ([0], "0,1", True),
        ([0], "", None),
    ],
)
def test_gpus_are_idle_if_nvml_knows_that_all_are(busy: list[int | None], visible: str | None, idle: bool | None) -> None:
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert gpus_idle(environment, Nvml(busy))() is idle


def test_of_parts_of_a_gpu_nothing_is_known() -> None:
    assert gpus_idle({}, Nvml([0], parts=2))() is None


def watched(answers: Iterator[bool | None]) -> IdleWatch:
    return IdleWatch(timedelta(seconds=150), lambda: next(answers))


def test_idle_gpus_end_a_stage_only_after_its_first_step() -> None:
    watch = watched(iter([True] * 2))
    watch.check(1000)
    watch.moved()
    watch.check(1001)
    with pytest.raises(StallError):
        watch.check(1152)


@pytest.mark.parametrize("answer", [False, None])
def test_a_busy_or_unknown_gpu_starts_the_time_again(answer: bool | None) -> None:
    watch = watched(iter([True, answer, True, True]))
    watch.moved()
    for now in (0, 140, 150, 299):
        watch.check(now)


def test_a_step_starts_the_time_again() -> None:
    watch = watched(iter([True] * 3))
    watch.moved()
    watch.check(0)
    watch.moved()
    watch.check(149)
    watch.check(290)


def test_gpus_may_be_idle_while_a_checkpoint_is_written() -> None:
    watch = watched(iter([True] * 2))
    watch.moved()
    watch.enter(Phase.SAVING)
    watch.check(0)
    watch.check(1000)
    watch.enter(Phase.STEPS)
    watch.check(1001)
    watch.check(1100)
