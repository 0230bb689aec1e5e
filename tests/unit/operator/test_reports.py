from __future__ import annotations

from typing import Any

from deepicd.spec.progress import Diagnostics, JudgeTrend
from tests.unit.operator.builders import JobMade, PodMade, Story, at, checkpoint, report


def test_last_reports_after_a_success_are_recorded_and_change_nothing_else() -> None:
    story = Story().running()
    objects = (JobMade().complete(), PodMade().ended(0, "Completed"))
    story.now(60, *objects, progress=report(at(50), step=14, eta_seconds=9))
    ended = story.status
    assert ended.state == "Succeeded"
    story.now(61, *objects, progress=report(at(59), step=15, eta_seconds=1), stored=checkpoint(15, at(59)))
    assert (story.status.step, story.status.eta_seconds) == (15, None)
    assert story.status.last_verified_checkpoint is not None
    assert story.condition("CheckpointDurable") == ("True", "Uploaded")
    assert (story.status.state, story.status.completion_time) == (ended.state, ended.completion_time)
    assert story.status.gpu_hours == ended.gpu_hours
    assert story.decision.create == ()
    story.now(62, *objects, progress=report(at(59), step=15, eta_seconds=1), stored=checkpoint(15, at(59)))
    assert story.decision.status is None


def test_reports_become_status() -> None:
    story = Story()
    story.now(0)
    seen = report(at(60), step=120, steps=1406, reward=0.41, kl=0.012, eta_seconds=32500.4,
                  diagnostics=Diagnostics(entropy=1.23456789, mfu=0.4))  # fmt: skip
    story.now(61, JobMade(), PodMade().running(at(1)), progress=seen, stored=checkpoint(100))
    status = story.status
    assert (status.state, status.stage, status.step, status.steps) == ("Running", "grpo", 120, 1406)
    shown = status.columns
    assert (shown.step, shown.reward, shown.kl, shown.eta, shown.checkpoint) == ("120/1406", "0.41", "0.012", "9h", "grpo/100")
    assert status.diagnostics == Diagnostics(entropy=1.23457, mfu=0.4)
    assert story.condition("CheckpointDurable") == ("True", "Uploaded")
    assert story.condition("StepsStalled") == ("False", "Stepping")


TREND = JudgeTrend(judge_from=0.26123, judge_to=0.641, right_from=0.3, right_to=0.3, diverged=True)

JUDGED: dict[str, Any] = {"weights": {"judge": 0.1}, "judge": {"endpoint": "http://judge.models.svc:8000/v1", "name": "judge"}}


def test_a_judge_that_alone_rises_is_a_condition_and_one_event() -> None:
    story = Story(reward=JUDGED).running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(20, *objects, progress=report(at(20), step=5))
    assert story.condition("JudgeDiverged") == ("False", "JudgeConsistent")
    story.now(40, *objects, progress=report(at(40), step=10, judge=TREND))
    assert story.condition("JudgeDiverged") == ("True", "JudgeDiverged")
    assert "the judge's mean rose from 0.26 to 0.64, and the share of right answers went from 0.30 to 0.30" in story.message(
        "JudgeDiverged"
    )
    story.now(60, *objects, progress=report(at(60), step=15, judge=TREND))
    story.now(80, *objects, progress=report(at(80), step=20))
    assert story.condition("JudgeDiverged") == ("True", "JudgeDiverged")
    assert story.events.count("JudgeDiverged") == 1
    recovered = TREND.model_copy(update={"right_to": 0.5, "diverged": False})
    story.now(100, *objects, progress=report(at(100), step=25, judge=recovered))
    assert story.condition("JudgeDiverged") == ("False", "JudgeConsistent")
    assert story.status.judge == recovered.model_copy(update={"judge_from": 0.2612})
    story.now(120, JobMade().complete(), PodMade().ended(0, "Completed"))
    assert story.status.state == "Succeeded"
    assert story.events.count("JudgeDiverged") == 1


def test_a_run_without_a_judge_or_before_grpo_has_no_such_condition() -> None:
    for reward, stage in ((None, "grpo"), (JUDGED, "sft")):
        story = Story(**({} if reward is None else {"reward": reward})).running()
        story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(20), stage=stage))
        assert "JudgeDiverged" not in [each.type for each in story.status.conditions]


def test_an_older_attempts_report_is_not_used_for_a_newer_one() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(20, *objects, progress=report(at(20), step=9))
    story.now(21, *objects, progress=report(at(15), step=7))
    assert story.status.step == 9


def test_a_report_from_the_future_is_ignored() -> None:
    story = Story().running()
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(10**6), step=9))
    assert story.status.step is None


def test_a_verified_checkpoint_survives_attempts_that_save_none() -> None:
    story = Story().running()
    story.now(20, JobMade(), PodMade().running(at(1)), stored=checkpoint(10))
    story.now(60, JobMade().failed(), PodMade().ended(143).disrupted("EvictionByEvictionAPI"))
    story.now(61, JobMade(2), PodMade(2).running(at(61)), progress=report(at(62), stage="prepare", step=None))
    assert story.status.last_verified_checkpoint is not None
    assert story.status.last_verified_checkpoint.step == 10
    assert story.status.attempts[1].resumed_from == "s3://models/10"


def test_the_trainers_report_decides_which_checkpoint_it_resumed_from() -> None:
    story = Story().running()
    story.now(20, JobMade(), PodMade().running(at(1)), stored=checkpoint(10))
    story.now(60, JobMade().failed(), PodMade().ended(143).disrupted("EvictionByEvictionAPI"))
    story.now(61, JobMade(2), PodMade(2).running(at(61)), progress=report(at(62), resumedFrom="s3://models/12"))
    story.now(71, JobMade(2), PodMade(2).running(at(61)), progress=report(at(72)))
    assert story.status.attempts[1].resumed_from == "s3://models/12"
