from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepicd_operator import resources
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Refusal
from deepicd_operator.status import Attempt, RunStatus
from tests.unit.operator.builders import NAME, NOON, JobMade, PodMade, Story, at, checkpoint, report


def test_a_new_run_gets_the_objects_that_its_pod_needs_and_then_the_job() -> None:
    story = Story()
    story.now(0)
    assert story.made == [f"ServiceAccount/{NAME}-trainer", f"NetworkPolicy/{NAME}-trainer", f"Job/{NAME}-a1"]
    assert [len(group) for group in story.decision.create] == [2, 1]
    assert story.status.attempt == 1


def test_an_attempt_with_its_job_gets_the_further_objects_in_order_and_an_event() -> None:
    story = Story()
    story.now(0)
    story.now(1, JobMade(), complete=False)
    assert story.made == [f"Role/{NAME}-a1", f"RoleBinding/{NAME}-a1", f"ConfigMap/{NAME}-a1-progress"]
    assert [len(group) for group in story.decision.create] == [1, 1, 1]
    assert story.events == ["AttemptStarted"]
    assert story.decision.status is None


def test_an_attempt_that_already_runs_when_it_gets_the_further_objects_has_one_event() -> None:
    story = Story()
    story.now(0)
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(1, *objects, complete=False)
    assert f"ConfigMap/{NAME}-a1-progress" in story.made
    assert story.status.state == "Running"
    assert story.events == ["AttemptStarted"]
    (event,) = story.decision.events
    assert event.message == f"attempt 1 starts from scratch; the trainer runs ({NAME}-a1-x on node-1)"
    # For an operator that was killed after it had written only the start.
    assert event.addition is not None
    assert (event.addition.reason, event.addition.identity) == ("Running", "attempt/1/Running")
    story.now(2, *objects)
    assert story.events == ["AttemptStarted"]
    assert story.decision.status is None


def test_a_pod_that_is_scheduled_and_running_at_once_has_one_event_with_its_node() -> None:
    story = Story()
    story.now(0)
    story.now(1, JobMade(), complete=False)
    story.now(2, JobMade(), PodMade().running(at(1)))
    assert story.events == ["AttemptStarted", "Running"]
    assert "on node-1" in story.decision.events[0].message


def test_an_ended_attempt_gets_its_further_objects_before_its_end_is_recorded() -> None:
    story = Story()
    story.now(0)
    ended = (JobMade().complete(), PodMade().ended(0))
    story.now(1, *ended, complete=False)
    assert f"ConfigMap/{NAME}-a1-progress" in story.made
    assert story.decision.status is None
    story.now(2, *ended)
    assert story.status.state == "Succeeded"


def test_refused_further_objects_are_reported_and_retried_and_do_not_block_the_runs_end() -> None:
    story = Story()
    story.now(0)
    refusal = Refusal(Reason.NAME_TAKEN, f"Role {NAME}-a1", at(20))
    story.now(5, JobMade(), PodMade().running(at(4)), complete=False, refusal=refusal)
    assert story.made == []
    assert story.condition("Running") == ("False", "NameTaken")
    assert f"Role {NAME}-a1" in story.message("Running")
    assert story.looks_again_in == 15
    story.now(20, JobMade(), PodMade().running(at(4)), complete=False, refusal=refusal)
    assert f"Role/{NAME}-a1" in story.made
    story.now(21, JobMade().complete(), PodMade().ended(0), complete=False, refusal=replace(refusal, until=at(80)))
    assert story.status.state == "Succeeded"


def test_a_job_that_was_not_created_is_created_by_the_next_reconcile() -> None:
    story = Story()
    story.now(0)
    story.now(5)
    assert f"Job/{NAME}-a1" in story.made
    assert story.decision.status is None


def test_a_missing_job_of_a_complete_attempt_counts_as_deleted() -> None:
    story = Story()
    story.now(0)
    story.now(5, complete=True)
    assert story.status.attempts[0].reason == "JobDeleted"


def test_a_run_that_is_being_deleted_is_ignored() -> None:
    assert Story().now(0, deleting=True).create == ()


def test_nothing_is_written_while_nothing_changes() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(2, *objects, progress=report(at(2)))
    plan = story.now(30, *objects, progress=report(at(2)))
    assert (plan.status, plan.create, plan.delete, plan.events) == (None, (), (), ())


def test_a_run_that_completes_has_succeeded_and_remains_so() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0, "Completed"))
    assert story.status.state == "Succeeded"
    assert story.condition("Succeeded") == ("True", "Completed")
    assert story.status.completion_time == at(60)
    plan = story.now(999, JobMade().failed(), PodMade().ended(1))
    assert (plan.status, plan.create, plan.delete, plan.events) == (None, (), (), ())


def test_suspending_stops_the_pod_and_waits_until_it_is_gone() -> None:
    story = Story().running()
    story.now(10, JobMade(), PodMade().running(at(1)), progress=report(at(10)), stored=checkpoint(10))
    story.spec["suspend"] = True
    story.now(20, JobMade(), PodMade().running(at(1)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    assert story.condition("Running") == ("True", "Stopping")
    story.now(
        25,
        JobMade().deleting(),
        PodMade().running(at(1)).deleting(at(99)),
        progress=report(at(24)),
        stored=checkpoint(12, at(23)),
    )
    assert story.status.state == "Running"
    story.now(30)
    assert (story.status.state, story.status.reason) == ("Suspended", "Suspended")
    assert (story.status.attempts[0].reason, story.status.attempts[0].counted) == ("Suspended", False)
    story.now(500)
    assert story.made == []
    story.spec["suspend"] = False
    story.now(600)
    assert f"Job/{NAME}-a2" in story.made
    assert story.status.attempts[1].resumed_from == "s3://models/12"


def test_a_run_that_completes_while_it_is_suspended_has_succeeded() -> None:
    story = Story().running()
    story.spec["suspend"] = True
    story.now(20, JobMade(), PodMade().running(at(1)))
    story.now(21, JobMade().complete().deleting(), PodMade().ended(0, "Completed"))
    assert story.status.state == "Succeeded"


def test_a_run_that_is_applied_suspended_creates_nothing() -> None:
    story = Story(suspend=True)
    story.now(0)
    assert (story.made, story.status.state, story.status.attempt) == ([], "Suspended", 0)


def test_resources_that_kueue_takes_back_end_the_attempt_and_queue_another() -> None:
    story = Story(compute__queue="gpus").running()
    story.now(30, JobMade().suspended(), PodMade().running(at(1)).deleting(at(99)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    story.now(40)
    assert (story.status.attempts[0].reason, story.status.attempts[0].counted) == ("Preempted", False)
    assert story.decision.create[-1][-1]["spec"]["suspend"] is True


def test_the_deadline_counts_the_attempts_together() -> None:
    story = Story(recovery__deadline="100s").running()
    story.now(60, JobMade().failed(), PodMade().ended(70))
    story.now(70)
    assert story.status.attempt == 2
    story.now(71, JobMade(2), PodMade(2).running(at(71)))
    assert story.looks_again_in == 39
    story.now(110, JobMade(2), PodMade(2).running(at(71)))
    assert story.deleted == [f"Job/{NAME}-a2"]
    story.now(115, JobMade(2).failed(), PodMade(2).ended(143))
    assert (story.status.state, story.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_finished_run_is_deleted_after_its_time() -> None:
    story = Story(recovery__ttlAfterFinished="1h").running()
    story.now(60, JobMade().complete(), PodMade().ended(0, "Completed"))
    story.now(61, JobMade().complete())
    assert story.looks_again_in == 3599
    story.now(3660)
    assert story.deleted == [f"DeepICDRun/{NAME}"]


def test_gpu_hours_and_cost_add_up_over_attempts() -> None:
    story = Story(compute__pricePerGpuHour=2.5).running()
    story.now(3601, JobMade().failed(), PodMade().ended(70))
    story.now(3611)
    story.now(3612, JobMade(2), PodMade(2).running(at(3612)))
    story.now(5412, JobMade(2), PodMade(2).running(at(3612)), progress=report(at(5412)))
    assert story.status.gpu_hours == pytest.approx(1.5)
    assert story.status.cost == pytest.approx(3.75)


@pytest.mark.parametrize(
    ("changes", "reason", "named"),
    [
        ({"stages__grpo__rollouts": 1}, "InvalidSpec", "spec.stages.grpo.rollouts"),
        ({"model": {}}, "InvalidSpec", "spec.model: give exactly one of path, tiny"),
        ({"stages__grpo__inventedLater": 1}, "UnknownField", "spec.stages.grpo: unknown field 'inventedLater'"),
        ({"storage": {"s3": {"bucket": "Not A Bucket"}}}, "InvalidSpec", "spec.storage.s3.bucket"),
    ],
)
def test_a_broken_spec_is_named_and_waited_for(changes: dict[str, Any], reason: str, named: str) -> None:
    story = Story(**changes)
    story.now(0)
    assert story.condition("Accepted") == ("False", reason)
    assert named in story.message("Accepted")
    assert (story.made, story.status.state, story.events) == ([], "Pending", [reason])
    story.spec, story.generation = Story().spec, 2
    story.now(10)
    assert story.condition("Accepted") == ("True", "Valid")
    assert f"Job/{NAME}-a1" in story.made


def test_a_spec_that_is_broken_while_its_attempt_runs_does_not_affect_it() -> None:
    story = Story().running()
    story.spec = {}
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(20), step=9))
    assert (story.status.state, story.status.step) == ("Running", 9)
    assert story.condition("Accepted") == ("False", "InvalidSpec")


def test_without_a_store_the_run_reports_that_nothing_is_durable() -> None:
    story = Story()
    del story.spec["storage"]
    story.now(0)
    assert story.condition("CheckpointDurable") == ("False", "NoStorage")


def test_a_job_that_a_slower_operator_made_too_late_is_deleted() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0, "Completed"))
    story.now(61, JobMade().complete(), JobMade(2))
    assert story.deleted == [f"Job/{NAME}-a2"]


def test_many_attempts_are_summed_up() -> None:
    story = Story(recovery__maxAttempts=100).running()
    now = 3600.0
    for number in range(1, 26):
        story.now(now, JobMade(number).failed(), PodMade(number).ended(70))
        assert story.status.retry_at is not None
        now = (story.status.retry_at - NOON).total_seconds()
        story.now(now)
        now += 60
    status = story.status
    assert (status.attempt, len(status.attempts), status.earlier.attempts) == (26, 20, 6)
    assert status.counted_attempts == 25


def test_a_pod_whose_job_was_deleted_without_it_is_deleted() -> None:
    story = Story().running()
    orphan = PodMade().running(at(1))
    story.now(60, complete=True, orphans=(orphan,))
    assert story.status.attempts[0].reason == "JobDeleted"
    assert story.deleted == [f"Pod/{NAME}-a1-x"]
    story.now(61, orphans=(orphan.deleting(),))
    assert story.deleted == []


def test_a_message_is_given_once() -> None:
    story = Story().running()
    story.now(60, JobMade().failed(), PodMade().ended(64, message='{"code": "BadInput", "message": "no such column"}'))
    said = [each.type for each in story.status.conditions if "no such column" in each.message]
    assert said == ["Failed"]
    (event,) = story.decision.events
    assert "no such column" in event.message


def test_a_failed_run_does_not_claim_to_make_steps() -> None:
    story = Story().running()
    story.now(10, JobMade(), PodMade().running(at(1)), progress=report(at(10)))
    story.now(60, JobMade().failed(), PodMade().ended(64))
    assert "StepsStalled" not in [each.type for each in story.status.conditions]


CLAIM_MISSING = '0/3 nodes are available: persistentvolumeclaim "data" not found. preemption: not helpful'

CLASS_MISSING = "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. not found"


@pytest.mark.parametrize("message", [CLAIM_MISSING, CLASS_MISSING])
def test_a_missing_claim_is_not_reported_as_lack_of_room(message: str) -> None:
    story = Story()
    story.now(0)
    story.now(20, JobMade(), PodMade().unschedulable(message))
    assert story.condition("Scheduled") == ("False", "VolumeMissing")


class TestAFaultOfTheOperator:
    """While the operator cannot build objects it creates none, but still follows existing ones."""

    @pytest.fixture(autouse=True)
    def no_job_can_be_built(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fails(_: Any) -> dict[str, Any]:
            raise TypeError("'str' object does not support item assignment")

        for name in ("job", "network_policy", "role"):
            monkeypatch.setattr(resources, name, fails)

    def test_it_is_a_condition_with_field_and_type_and_an_event(self) -> None:
        story = Story()
        story.now(0)
        assert story.condition("Accepted") == ("False", "CannotPlan")
        assert "spec.storage.s3.endpoint: TypeError: " in story.message("Accepted")
        assert (story.made, story.events, story.status.state) == ([], ["CannotPlan"], "Pending")
        assert isinstance(story.decision.fault, resources.CannotPlanError)

    def test_it_does_not_hide_the_end_of_the_current_attempt(self) -> None:
        story = Story()
        story.status = running_status()
        story.now(60, JobMade().failed(), PodMade().ended(70), complete=False)
        assert story.status.attempts[0].reason == "Crashed"

    def test_the_run_can_be_suspended(self) -> None:
        story = Story(suspend=True)
        story.status = running_status()
        story.now(60, JobMade(), PodMade().running(at(1)), complete=False)
        assert story.deleted == [f"Job/{NAME}-a1"]


def running_status() -> RunStatus:
    attempt = Attempt(number=1, start=NOON, running=at(1), pod=f"{NAME}-a1-x", node="node-1")
    return RunStatus(state="Running", reason="Running", attempt=1, attempts=(attempt,))
