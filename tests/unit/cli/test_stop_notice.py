from __future__ import annotations

import pytest

from deepicd.cli.stop_notice import StopNotice
from deepicd.phases import Phase, PhaseStart
from deepicd.training.step_metrics import StepMetrics


class Run:
    """A run on a clock of its own."""

    def __init__(self, stage: str | None) -> None:
        self.now = 0.0
        self.notice = StopNotice(lambda: self.now)
        self.stage = stage or ""
        if stage is not None:
            self.notice.stage_started(stage)

    def enter(self, phase: Phase, lasts: float = 0.0) -> None:
        self.notice.phase(self.stage, PhaseStart(phase))
        self.now += lasts

    def step(self, number: int, lasts: float) -> None:
        self.now += lasts
        self.notice.step(self.stage, StepMetrics(number), 15, None)


def test_amid_steps_the_time_to_the_checkpoint_is_what_is_left_of_a_step_and_a_saving() -> None:
    run = Run("grpo")
    run.enter(Phase.VLLM, lasts=100)
    run.enter(Phase.ROLLOUTS)
    run.step(1, lasts=50)
    run.enter(Phase.SAVING, lasts=6)
    run.enter(Phase.STEPS)
    run.step(2, lasts=34)
    run.now += 11
    assert run.notice.text(1) == "Saving at the end of this step, about 40 s; press Ctrl-C again to exit immediately"


def test_the_validation_before_the_first_step_is_no_step() -> None:
    run = Run("grpo")
    run.enter(Phase.VALIDATION, lasts=1000)
    run.step(0, lasts=0)
    assert run.notice.text(1) == "Exiting immediately: grpo has made no step since it started"
    run.enter(Phase.ROLLOUTS)
    run.step(1, lasts=10)
    assert "about 10 s" in run.notice.text(1)


def test_a_step_that_takes_longer_than_the_others_is_not_expected_in_the_past() -> None:
    run = Run("sft")
    run.enter(Phase.STEPS)
    run.step(1, lasts=2)
    run.now += 30
    assert "about 1 s;" in run.notice.text(1)


def test_before_the_first_step_has_ended_no_time_is_named() -> None:
    run = Run("grpo")
    run.enter(Phase.ROLLOUTS)
    assert run.notice.text(1) == "Saving at the end of this step; press Ctrl-C again to exit immediately"


@pytest.mark.parametrize(
    ("stage", "phase", "text"),
    [
        ("prepare", Phase.COHORT, "Exiting immediately: prepare starts again when the run is resumed"),
        ("evaluate", Phase.ANSWERS, "Exiting immediately: evaluate resumes after its last batch of answers"),
        ("distill", Phase.TEACHER, "Exiting immediately: distill keeps the teacher's answers so far"),
        ("grpo", Phase.DOWNLOAD, "Exiting when the files of grpo are fetched from the store"),
        ("grpo", Phase.MODEL, "Exiting immediately: grpo has made no step since it started"),
    ],
)
def test_a_stage_without_a_step_to_save_says_what_happens_instead(stage: str, phase: Phase, text: str) -> None:
    run = Run(stage)
    run.enter(phase)
    assert run.notice.text(1).startswith(text)


def test_after_the_last_step_the_processes_end_by_themselves() -> None:
    run = Run("sft")
    run.enter(Phase.STEPS)
    run.enter(Phase.ENDING)
    assert run.notice.text(1).startswith("All steps of sft are made; exiting when its processes have ended; press Ctrl-C again")


def test_a_second_signal_leaves_at_once_wherever_it_comes() -> None:
    run = Run("grpo")
    run.enter(Phase.STEPS)
    assert run.notice.text(2) == "Exiting immediately: the processes of grpo are being ended"
    run.notice.stage_finished("grpo", 1.0, already=False)
    assert run.notice.text(2) == "Exiting immediately"


def test_a_new_stage_forgets_the_steps_of_the_one_before() -> None:
    run = Run("sft")
    run.enter(Phase.STEPS)
    run.step(1, lasts=500)
    run.notice.stage_started("grpo")
    run.enter(Phase.ROLLOUTS)
    assert "about" not in run.notice.text(1)
