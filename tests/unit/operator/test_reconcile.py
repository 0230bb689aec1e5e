from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from deepicd_operator.observed import Refusal
from deepicd_operator.reasons import Reason
from tests.unit.operator.builders import NAME, NOON, JobMade, PodMade, Story, at, checkpoint, report

EXIT = "Container trainer for pod a/b failed with exit code %d matching FailJob rule at index 2"
FAILURE = '{"code": "%s", "message": "what happened"}'


def test_a_new_run_gets_all_objects_of_its_first_attempt_and_the_job_last() -> None:
    story = Story()
    story.now(0)
    assert story.made == [
        f"ServiceAccount/{NAME}-trainer", f"NetworkPolicy/{NAME}-trainer", f"Role/{NAME}-a1",
        f"ConfigMap/{NAME}-a1-progress", f"RoleBinding/{NAME}-a1", f"Job/{NAME}-a1",
    ]  # fmt: skip
    assert story.status.attempt == 1
    assert story.events == ["AttemptStarted"]


def test_a_job_that_was_not_made_is_made_by_the_next_reconcile() -> None:
    story = Story()
    story.now(0)
    story.now(5)
    assert f"Job/{NAME}-a1" in story.made
    assert story.plan.status is None
    assert story.events == ["AttemptStarted"]


def test_a_run_that_is_being_deleted_is_left_alone() -> None:
    assert Story().now(0, deleting=True).apply == ()


def test_nothing_is_written_while_nothing_changes() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(2, *objects, progress=report(at(2)))
    plan = story.now(30, *objects, progress=report(at(2)))
    assert (plan.status, plan.apply, plan.delete, plan.events) == (None, (), (), ())


def test_reports_become_status() -> None:
    story = Story()
    story.now(0)
    seen = report(at(60), step=120, steps=1406, reward=0.41, kl=0.012, eta_seconds=32500.4, checkpoint=checkpoint(100))
    story.now(61, JobMade(), PodMade().running(at(1)), progress=seen)
    status = story.status
    assert (status.state, status.stage, status.step, status.steps) == ("Running", "grpo", 120, 1406)
    shown = status.columns
    assert (shown.step, shown.reward, shown.kl, shown.eta, shown.checkpoint) == ("120/1406", "0.41", "0.012", "9h", "grpo/100")
    assert story.condition("CheckpointDurable") == ("True", "Uploaded")
    assert story.condition("Stalled") == ("False", "Stepping")


def test_a_run_that_completes_has_succeeded_and_stays_so() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0, "Completed"))
    assert story.status.state == "Succeeded"
    assert story.condition("Succeeded") == ("True", "Completed")
    assert story.status.completion_time == at(60)
    plan = story.now(999, JobMade().failed(), PodMade().ended(1))
    assert (plan.status, plan.apply, plan.delete, plan.events) == (None, (), (), ())


Seen = tuple[JobMade | PodMade, ...]
RETRIED: list[tuple[str, Callable[[], Seen], bool]] = [
    ("NodeLost", lambda: (JobMade().failed(), PodMade().ended(137).disrupted("DeletionByTaintManager")), False),
    ("NodeLost", lambda: (JobMade(), PodMade().running().disrupted("DeletionByTaintManager").deleting(at(40))), False),
    ("Evicted", lambda: (JobMade().failed(), PodMade().ended(143).disrupted("EvictionByEvictionAPI")), False),
    ("Evicted", lambda: (JobMade().failed(), PodMade().running().evicted_by_kubelet()), False),
    ("Evicted", lambda: (JobMade().failed("Pod x has condition DisruptionTarget matching FailJob rule at index 1"),), False),
    ("Preempted", lambda: (JobMade().failed(), PodMade().ended(143).disrupted("PreemptionByScheduler")), False),
    ("OutOfMemory", lambda: (JobMade().failed(), PodMade().ended(137, "OOMKilled")), True),
    ("Crashed", lambda: (JobMade().failed(), PodMade().ended(70)), True),
    ("Crashed", lambda: (JobMade().failed(EXIT % 70),), True),
    ("NotANumber", lambda: (JobMade().failed(), PodMade().ended(70, message=FAILURE % "NotANumber")), True),
    ("Stalled", lambda: (JobMade().failed(), PodMade().ended(75, message=FAILURE % "Stalled")), True),
    ("StoreUnreachable", lambda: (JobMade().failed(), PodMade().ended(75, message=FAILURE % "StoreUnreachable")), True),
    ("StoreUnreachable", lambda: (JobMade().complete(), PodMade().ended(75, name="sync")), True),
    ("Terminated", lambda: (JobMade().failed(), PodMade().ended(143)), True),
    ("PodDeleted", lambda: (JobMade().failed(), PodMade().ended(143).deleting()), True),
    ("PodDeleted", lambda: (JobMade().failed(),), True),
    ("JobDeleted", tuple, True),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "seen", "counted"), RETRIED)
def test_an_attempt_that_can_be_repeated_is_followed_by_another(reason: str, seen: Callable[[], Seen], counted: bool) -> None:
    story = Story().running()
    story.now(60, *seen())
    ended = story.status.attempts[0]
    assert (ended.reason, ended.counted, ended.end) == (reason, counted, at(60))
    assert ended.message
    assert story.events.count(reason) == 1
    if counted:
        assert (story.status.state, story.status.reason) == ("Pending", "BackOff")
        assert story.status.retry_at == at(70)
        assert story.plan.requeue_after == 10
        assert story.made == []
        story.now(70)
    assert story.status.attempt == 2
    assert f"Job/{NAME}-a2" in story.made


STOPPED: list[tuple[str, Callable[[], Seen], int | None]] = [
    ("BadInput", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "BadInput")), 64),
    ("BadInput", lambda: (JobMade().failed(EXIT % 64),), 64),
    ("BadInput", lambda: (JobMade().failed(), PodMade().ended(64).disrupted("EvictionByEvictionAPI")), 64),
    ("RewardCodeFailed", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "RewardCodeFailed")), 64),
    ("RewardCollapsed", lambda: (JobMade().failed(), PodMade().ended(70, message=FAILURE % "RewardCollapsed")), 70),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "seen", "code"), STOPPED)
def test_a_failure_that_trying_again_cannot_mend_ends_the_run(reason: str, seen: Callable[[], Seen], code: int | None) -> None:
    story = Story().running()
    story.now(60, *seen())
    assert (story.status.state, story.status.reason) == ("Failed", reason)
    assert story.condition("Failed") == ("True", reason)
    assert story.status.attempts[0].exit_code == code
    assert Reason(reason).explanation.remedy in story.message("Failed")
    story.now(9999)
    assert story.made == []


def test_a_collapsed_reward_is_a_condition() -> None:
    story = Story().running()
    story.now(60, JobMade().failed(), PodMade().ended(70, message=FAILURE % "RewardCollapsed"))
    assert story.condition("RewardCollapsed") == ("True", "RewardCollapsed")


WAITED: list[tuple[str, Callable[[], Seen], dict[str, Any]]] = [
    ("Unschedulable", lambda: (JobMade(), PodMade().unschedulable()), {}),
    ("Queued", lambda: (JobMade().suspended(),), {}),
    ("QuotaExceeded", lambda: (JobMade(),), {"trouble": 'pods "x" is forbidden: exceeded quota: gpus, requested: 4'}),
    ("PodRefused", lambda: (JobMade(),), {"trouble": 'pods "x" is forbidden: violates PodSecurity "restricted:latest"'}),
    ("ImagePullFailed", lambda: (JobMade(), PodMade().waiting("ImagePullBackOff", "no such image")), {}),
    ("ImagePullFailed", lambda: (JobMade(), PodMade().waiting("ErrImagePull", "no such image", name="sync")), {}),
    ("ConfigMissing", lambda: (JobMade(), PodMade().waiting("CreateContainerConfigError", 'secret "x" not found')), {}),
    ("VolumeMissing", lambda: (JobMade(), PodMade().waiting("PodInitializing")), {"trouble": 'secret "s3-keys" not found'}),
    ("NameTaken", tuple, {"refusal": Refusal(Reason.NAME_TAKEN, "Job night-run-a1", at(90))}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "seen", "more"), WAITED)
def test_what_may_come_right_by_itself_is_waited_for(reason: str, seen: Callable[[], Seen], more: dict[str, Any]) -> None:
    story = Story()
    story.now(0)
    story.now(20, *seen(), **more)
    assert (story.status.state, story.status.reason) == ("Pending", reason)
    assert story.events.count(reason) == 1
    assert Reason(reason).explanation.remedy in story.message("Running")
    story.now(80, *seen(), **more)
    assert story.status.attempts[0].end is None
    assert story.deleted == []
    assert story.events.count(reason) == 1
    story.now(99, JobMade(), PodMade().running(at(98)))
    assert story.status.state == "Running"


def test_a_refused_object_is_not_offered_again_before_its_time() -> None:
    story = Story()
    story.now(0)
    refusal = Refusal(Reason.API_REFUSED, "Job: spec.template is invalid", at(30))
    story.now(10, refusal=refusal)
    assert story.made == []
    assert story.plan.requeue_after == 20
    story.now(30, refusal=refusal)
    assert f"Job/{NAME}-a1" in story.made


def test_an_image_that_is_no_name_ends_the_run() -> None:
    story = Story()
    story.now(0)
    story.now(5, JobMade(), PodMade().waiting("InvalidImageName", "couldn't parse image"))
    assert story.deleted == [f"Job/{NAME}-a1"]
    story.now(6)
    assert (story.status.state, story.status.reason) == ("Failed", "ImageNameInvalid")
    assert "couldn't parse image" in story.message("Failed")


def test_an_uploader_that_cannot_work_ends_the_run() -> None:
    story = Story().running()
    pod = PodMade().running(at(1))
    pod.container({"terminated": {"exitCode": 64, "message": FAILURE % "BadInput"}}, "sync")
    story.now(5, JobMade(), pod)
    story.now(9, JobMade().failed(), PodMade().ended(143))
    assert (story.status.state, story.status.reason) == ("Failed", "BadInput")
    assert "what happened" in story.message("Failed")


def test_an_attempt_without_steps_is_stalled_and_then_tried_again() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10)))
    assert story.plan.requeue_after == 300
    story.now(310, *objects, progress=report(at(300)))
    assert story.condition("Stalled") == ("True", "Stalled")
    assert story.deleted == []
    story.now(370, *objects, progress=report(at(300)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    assert story.plan.delete[0].foreground
    story.now(375, JobMade().deleting(), PodMade().running(at(1)).deleting(at(999)))
    assert story.deleted == []
    story.now(380)
    assert story.status.attempts[0].reason == "Stalled"
    assert story.status.retry_at == at(390)
    assert story.events.count("Stalled") == 1 + 1  # suspected, then ended: one event's name, so the API server keeps one


def test_a_step_ends_the_suspicion_of_a_stall() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10), step=3))
    story.now(310, *objects, progress=report(at(10), step=3))
    story.now(320, *objects, progress=report(at(320), step=4))
    assert story.condition("Stalled") == ("False", "Stepping")


def test_attempts_that_count_are_used_up_and_waits_double() -> None:
    story = Story().running()
    waits = []
    now = 60.0
    for number in (1, 2, 3):
        story.now(now, JobMade(number).failed(), PodMade(number).ended(70))
        if story.status.retry_at is not None:
            waits.append(story.status.retry_at - at(now))
            now += waits[-1].total_seconds()
            story.now(now)
            now += 60
    assert waits == [timedelta(seconds=10), timedelta(seconds=20)]
    assert (story.status.state, story.status.reason) == ("Failed", "AttemptsExhausted")
    assert "Crashed" in story.message("Failed")
    assert [attempt.number for attempt in story.status.attempts] == [1, 2, 3]


def test_disruptions_use_up_no_attempts_and_only_a_row_of_them_waits() -> None:
    story = Story().running()
    now = 60.0
    for number in range(1, 5):
        story.now(now, JobMade(number).failed(), PodMade(number).ended(143).disrupted("EvictionByEvictionAPI"))
        now += 60
    assert story.status.attempt == 4
    assert story.status.retry_at == at(now - 60) + timedelta(seconds=10)
    story.now(now)
    assert story.status.attempt == 5


def test_a_lost_node_counts_at_once_when_the_node_is_known_to_be_gone() -> None:
    story = Story().running()
    pod = PodMade().running(at(1)).disrupted("DeletionByTaintManager").deleting(at(660))
    story.now(60, JobMade(), pod)
    assert story.status.attempts[0].end is None
    story.now(61, JobMade(), pod, lost=frozenset({"node-1"}))
    assert story.status.attempts[0].reason == "NodeLost"
    assert story.deleted == [f"Job/{NAME}-a1"]
    assert f"Job/{NAME}-a2" in story.made


def test_suspending_stops_the_pod_and_waits_until_it_is_gone() -> None:
    story = Story().running()
    story.now(10, JobMade(), PodMade().running(at(1)), progress=report(at(10), checkpoint=checkpoint(10)))
    story.spec["suspend"] = True
    story.now(20, JobMade(), PodMade().running(at(1)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    assert story.condition("Running") == ("True", "Stopping")
    story.now(
        25,
        JobMade().deleting(),
        PodMade().running(at(1)).deleting(at(99)),
        progress=report(at(24), checkpoint=checkpoint(12, at(23))),
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


def test_a_run_that_is_applied_suspended_makes_nothing() -> None:
    story = Story(suspend=True)
    story.now(0)
    assert (story.made, story.status.state, story.status.attempt) == ([], "Suspended", 0)


def test_resources_that_kueue_takes_back_end_the_attempt_and_queue_another() -> None:
    story = Story(compute__queue="gpus").running()
    story.now(30, JobMade().suspended(), PodMade().running(at(1)).deleting(at(99)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    story.now(40)
    assert (story.status.attempts[0].reason, story.status.attempts[0].counted) == ("Preempted", False)
    assert story.plan.apply[-1]["spec"]["suspend"] is True


def test_the_deadline_counts_the_attempts_together() -> None:
    story = Story(recovery__deadline="100s").running()
    story.now(60, JobMade().failed(), PodMade().ended(70))
    story.now(70)
    assert story.status.attempt == 2
    story.now(71, JobMade(2), PodMade(2).running(at(71)))
    assert story.plan.requeue_after == 39
    story.now(110, JobMade(2), PodMade(2).running(at(71)))
    assert story.deleted == [f"Job/{NAME}-a2"]
    story.now(115, JobMade(2).failed(), PodMade(2).ended(143))
    assert (story.status.state, story.status.reason) == ("Failed", "DeadlineExceeded")


def test_a_finished_run_is_deleted_after_its_time() -> None:
    story = Story(recovery__ttlAfterFinished="1h").running()
    story.now(60, JobMade().complete(), PodMade().ended(0, "Completed"))
    story.now(61, JobMade().complete())
    assert story.plan.requeue_after == 3599
    story.now(3660)
    assert story.deleted == [f"DeepICDRun/{NAME}"]


def test_an_older_attempts_report_is_not_taken_for_a_newer_one() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(20, *objects, progress=report(at(20), step=9))
    story.now(21, *objects, progress=report(at(15), step=7))
    assert story.status.step == 9


def test_a_report_from_the_future_is_not_believed() -> None:
    story = Story().running()
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(10**6), step=9))
    assert story.status.step is None


def test_a_verified_checkpoint_survives_attempts_that_make_none() -> None:
    story = Story().running()
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(20), checkpoint=checkpoint(10)))
    story.now(60, JobMade().failed(), PodMade().ended(143).disrupted("EvictionByEvictionAPI"))
    story.now(61, JobMade(2), PodMade(2).running(at(61)), progress=report(at(62), stage="prepare", step=None))
    assert story.status.last_verified_checkpoint is not None
    assert story.status.last_verified_checkpoint.step == 10
    assert story.status.attempts[1].resumed_from == "s3://models/10"


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


def test_a_spec_that_is_broken_while_its_attempt_runs_does_not_disturb_it() -> None:
    story = Story().running()
    story.spec = {}
    story.now(20, JobMade(), PodMade().running(at(1)), progress=report(at(20), step=9))
    assert (story.status.state, story.status.step) == ("Running", 9)
    assert story.condition("Accepted") == ("False", "InvalidSpec")


def test_without_a_store_the_run_says_that_nothing_is_durable() -> None:
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
