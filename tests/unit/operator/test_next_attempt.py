"""A change of the spec starts the next attempt of a failed run, but not of one that runs or has succeeded."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from deepicd_operator.reasons import Reason
from deepicd_operator.reconcile import reconcile
from deepicd_operator.snapshot import Refusal
from tests.by_path import changed
from tests.unit.operator.builders import NAME, JobMade, PodMade, Story, at, checkpoint, report

FAILURE = '{"code": "%s", "message": "what happened"}'
Seen = tuple[JobMade | PodMade, ...]


def change(story: Story, **fields: Any) -> None:
    """Apply the run with fields set by path; the generation increases as on an API server."""
    story.spec = changed(story.spec, fields)
    story.generation += 1


def failed(code: str = "GpuOutOfMemory", number: int = 1) -> Seen:
    return JobMade(number).failed(), PodMade(number).ended(64, message=FAILURE % code)


def out_of_memory(**fields: Any) -> Story:
    """A run that failed in its first attempt, after a checkpoint, because a GPU ran out of memory."""
    story = Story(**fields).running()
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(20)), stored=checkpoint(10))
    story.now(60, *failed())
    assert story.status.state == "Failed"
    return story


@pytest.mark.parametrize(
    ("code", "fields"),
    [
        ("GpuOutOfMemory", ("microBatchSizePerGpu", "gpuMemoryUtilization", "offloadParameters", "offloadOptimizer")),
        ("RewardCollapsed", ("recovery.rewardCollapse.drop",)),
    ],
)
def test_a_failure_names_the_fields_that_help_and_says_that_a_change_starts_the_next_attempt(
    code: str, fields: tuple[str, ...]
) -> None:
    story = Story().running()
    story.now(60, *failed(code))
    assert (story.status.state, story.status.reason) == ("Failed", code)
    assert "a change of the spec starts the next attempt" in story.message("Failed")
    assert all(field in story.message("Failed") for field in fields)


@pytest.mark.parametrize(
    ("reason", "field"),
    [
        (Reason.OUT_OF_MEMORY, "compute.memory"),
        (Reason.STALLED, "recovery.stallAfter"),
        (Reason.DEADLINE_EXCEEDED, "recovery.deadline"),
        (Reason.ATTEMPTS_EXHAUSTED, "maxAttempts"),
        (Reason.IMAGE_NAME_INVALID, "compute.image"),
    ],
)
def test_a_known_cause_names_its_field(reason: Reason, field: str) -> None:
    assert field in reason.explanation.remedy


def test_a_changed_spec_starts_the_next_attempt_of_a_failed_run_from_the_last_verified_checkpoint() -> None:
    story = out_of_memory()
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(100, *failed())
    assert (story.status.state, story.status.completion_time) == ("Pending", None)
    assert "Failed" not in [each.type for each in story.status.conditions]
    assert story.made[-1] == f"Job/{NAME}-a2"
    second = story.status.attempts[1]
    assert (second.resumed_from, second.generation) == ("s3://models/10", 2)
    assert [event.reason for event in story.decision.events] == ["SpecChanged"]
    assert "attempt 2 follows" in story.decision.events[0].message
    story.now(110, JobMade(2), PodMade(2).running(at(105)))
    assert story.status.state == "Running"


def test_a_failed_run_stays_failed_while_its_spec_is_the_same() -> None:
    story = out_of_memory()
    before = story.status
    story.now(100, *failed())
    assert (story.status, story.made, story.decision.events) == (before, [], ())


def test_attempts_count_from_the_change_on() -> None:
    story = Story(recovery__maxAttempts=2).running()
    story.now(60, JobMade().failed(), PodMade().ended(70))
    story.now(70)
    story.now(80, JobMade(2).failed(), PodMade(2).ended(70))
    assert story.status.reason == "AttemptsExhausted"
    change(story, compute__memory="64Gi")
    story.now(90)
    assert (story.status.attempt, story.status.counted_attempts) == (3, 0)
    story.now(100, JobMade(3).failed(), PodMade(3).ended(70))
    assert (story.status.state, story.status.reason) == ("Pending", "BackOff")
    assert story.looks_again_in == 10
    story.now(110)
    story.now(120, JobMade(4).failed(), PodMade(4).ended(70))
    assert (story.status.state, story.status.reason) == ("Failed", "AttemptsExhausted")


def test_summed_up_attempts_do_not_count_after_a_change_either() -> None:
    story = Story(recovery__maxAttempts=22).running()
    now = 60.0
    while story.status.state != "Failed":
        number = story.status.attempt
        story.now(now, JobMade(number).failed(), PodMade(number).ended(70))
        if story.status.retry_at is not None:
            now = (story.status.retry_at - at(0)).total_seconds()
            story.now(now)
        now += 60
    assert story.status.earlier.counted == 2
    change(story, recovery__maxAttempts=1)
    story.now(now)
    assert (story.status.attempt, story.status.counted_attempts) == (23, 0)


def test_a_change_while_the_failing_attempt_ran_starts_the_next_one_immediately() -> None:
    story = Story().running()
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(60, *failed())
    assert (story.status.state, story.status.attempt) == ("Pending", 2)
    assert story.made[-1] == f"Job/{NAME}-a2"
    (failure,) = [event for event in story.decision.events if event.reason == "GpuOutOfMemory"]
    assert failure.message.endswith("; attempt 2 follows")


def test_a_change_while_an_attempt_runs_applies_to_the_next_and_is_reported_once() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(10, *objects, progress=report(at(10)))
    assert (story.deleted, story.made, story.status.state) == ([], [], "Running")
    assert "the spec has changed since the attempt began: the next attempt uses the new spec" in story.message("Running")
    story.now(20, *objects, progress=report(at(20), step=4))
    assert story.events.count("SpecChanged") == 1
    assert story.condition("Running") == ("True", "Running")


def test_a_run_that_has_succeeded_is_not_started_again() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0))
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(100, JobMade().complete(), PodMade().ended(0))
    assert (story.status.state, story.status.attempt, story.made) == ("Succeeded", 1, [])


def suspended(story: Story) -> None:
    change(story, suspend=True)


def resumed(story: Story) -> None:
    change(story, suspend=True)
    story.now(90)
    change(story, suspend=False)


def refused(story: Story) -> None:
    change(story, compute__podTemplatePatch={"spec": {"hostNetwork": True}})


def broken(story: Story) -> None:
    change(story, model={})


def unknown_generation(story: Story) -> None:
    """The failing attempt is from an operator that did not record the generation."""
    attempt = story.status.attempts[0]
    story.status = story.status.with_attempt(attempt, generation=None)


def unknown_and_changed(story: Story) -> None:
    unknown_generation(story)
    change(story, compute__memory="64Gi")


CHANGES: list[tuple[Callable[[Story], None], tuple[str, str], int]] = [
    (suspended, ("Failed", "GpuOutOfMemory"), 1),
    (resumed, ("Pending", "Created"), 2),
    (refused, ("Pending", "NotAllowed"), 1),
    (broken, ("Pending", "InvalidSpec"), 1),
    (unknown_generation, ("Failed", "GpuOutOfMemory"), 1),
    (unknown_and_changed, ("Pending", "Created"), 2),
]


@pytest.mark.parametrize(("apply", "stands", "attempt"), CHANGES)
def test_what_a_change_makes_of_a_failed_run(apply: Callable[[Story], None], stands: tuple[str, str], attempt: int) -> None:
    story = out_of_memory()
    apply(story)
    story.now(100)
    assert (story.status.state, story.status.reason) == stands
    assert story.status.attempt == attempt


@pytest.mark.parametrize(("deadline", "attempt"), [("70s", 1), ("10m", 2)])
def test_a_run_that_is_late_stays_failed_until_its_deadline_is_raised(deadline: str, attempt: int) -> None:
    story = Story(recovery__deadline="60s").running()
    story.now(100, JobMade(), PodMade().running(at(1)))
    story.now(110, JobMade().failed(), PodMade().ended(143))
    assert story.status.reason == "DeadlineExceeded"
    change(story, recovery__deadline=deadline)
    story.now(120)
    assert story.status.attempt == attempt


def test_a_failed_run_waiting_for_its_deletion_continues_if_changed_in_time() -> None:
    story = out_of_memory(recovery__ttlAfterFinished="1h")
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(100)
    story.now(4000, JobMade(2), PodMade(2).running(at(105)), progress=report(at(4000)))
    assert story.deleted == []


def test_a_run_that_is_changed_when_its_time_is_up_is_not_deleted_unseen() -> None:
    story = out_of_memory(recovery__ttlAfterFinished="1h")
    decision = reconcile(replace(story.snapshot(), version="41"), at(4000), story.settings)
    assert [(each.kind, each.version) for each in decision.delete] == [("DeepICDRun", "41")]


def test_a_change_replaces_an_attempt_that_waits() -> None:
    story = Story()
    story.now(0)
    change(story, stages__grpo__microBatchSizePerGpu=1)
    story.now(10, JobMade(), PodMade().unschedulable())
    assert story.deleted == [f"Job/{NAME}-a1"]


@pytest.mark.parametrize("field", [{"maxAttempts": 9}, {"backoff": "1m"}, {"deadline": "9d"}, {"ttlAfterFinished": "1h"}])
def test_a_change_of_fields_that_only_the_operator_uses_does_not_outdate_an_attempt(field: dict[str, Any]) -> None:
    story = Story()
    story.now(0)
    change(story, recovery=story.spec["recovery"] | field)
    story.now(10, JobMade(), PodMade().unschedulable())
    assert story.deleted == []
    story.now(20, JobMade(), PodMade().running(at(15)))
    change(story, recovery=story.spec["recovery"] | {"maxAttempts": 8})
    story.now(30, JobMade(), PodMade().running(at(15)))
    assert "SpecChanged" not in story.events
    story.now(60, *failed("BadInput"))
    assert (story.status.state, story.status.attempt) == ("Failed", 1)


def test_a_changed_limit_of_the_trainer_applies_to_the_next_attempt() -> None:
    story = Story(recovery__maxAttempts=1).running()
    change(story, recovery__stallAfter="1h")
    story.now(60, JobMade().failed(), PodMade().ended(75, message=FAILURE % "Stalled"))
    assert (story.status.state, story.status.attempt) == ("Pending", 2)


def test_an_attempt_whose_job_was_never_made_ends_with_a_change_and_the_next_one_is_of_the_new_spec_alone() -> None:
    story = Story(compute__scratch__storageClass="slow")
    story.now(0)
    story.now(1, refusal=Refusal(Reason.INVALID_SPEC, "spec.compute.podTemplatePatch.spec.x: unknown field", at(15)))
    change(story, compute__scratch__storageClass="fast")
    story.now(2)
    first, second = story.status.attempts
    assert (first.reason, first.counted, first.volume) == ("SpecChanged", False, None)
    assert (second.generation, second.volume) == (2, f"{NAME}-a2")
    assert (story.made[-1], story.deleted) == (f"Job/{NAME}-a2", [f"PersistentVolumeClaim/{NAME}-a1"])
    story.now(3, JobMade(2), PodMade(2).running(at(3)))
    assert (story.status.state, story.deleted) == ("Running", [])


def test_whoever_corrects_a_refused_spec_often_need_not_wait() -> None:
    story = Story()
    story.now(0)
    for correction in range(8):
        change(story, compute__memory=f"{64 + correction}Gi")
        story.now(correction + 1)
        assert story.made[-1] == f"Job/{NAME}-a{correction + 2}"


def test_a_change_that_the_pod_does_not_show_leaves_an_attempt_whose_job_is_not_made_yet() -> None:
    story = Story()
    story.now(0)
    change(story, recovery__maxAttempts=9)
    story.now(1)
    assert (story.status.attempt, story.made[-1]) == (1, f"Job/{NAME}-a1")


def test_an_attempt_that_is_suspended_before_its_job_was_made_leaves_no_claim() -> None:
    story = Story(compute__scratch__storageClass="slow")
    story.now(0)
    change(story, suspend=True)
    story.now(1)
    assert story.status.attempts[0].reason == "Suspended"
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a1"]
