from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Refusal
from tests.unit.operator.builders import NAME, JobMade, PodMade, Story, at, report

EXIT = "Container trainer for pod a/b failed with exit code %d matching FailJob rule at index 2"
FAILURE = '{"code": "%s", "message": "what happened"}'


Seen = tuple[JobMade | PodMade, ...]
RETRIED: list[tuple[str, Callable[[], Seen], bool]] = [
    ("NodeLost", lambda: (JobMade().failed(), PodMade().ended(137).disrupted("DeletionByTaintManager")), False),
    ("NodeLost", lambda: (JobMade(), PodMade().running().disrupted("DeletionByTaintManager").deleting(at(40))), False),
    ("Evicted", lambda: (JobMade().failed(), PodMade().ended(143).disrupted("EvictionByEvictionAPI")), False),
    ("Evicted", lambda: (JobMade().failed(), PodMade().given_up("Evicted")), False),
    ("Evicted", lambda: (JobMade().failed(), PodMade().given_up("Evicted").disrupted("TerminationByKubelet")), False),
    ("NodeLost", lambda: (JobMade().failed(), PodMade().given_up("Terminated").disrupted("TerminationByKubelet")), False),
    ("Preempted", lambda: (JobMade().failed(), PodMade().given_up("Preempting").disrupted("TerminationByKubelet")), False),
    ("Evicted", lambda: (JobMade().failed("Pod x has condition DisruptionTarget matching FailJob rule at index 1"),), False),
    ("Preempted", lambda: (JobMade().failed(), PodMade().ended(143).disrupted("PreemptionByScheduler")), False),
    ("OutOfMemory", lambda: (JobMade().failed(), PodMade().ended(137, "OOMKilled")), True),
    ("OutOfMemory", lambda: (JobMade().failed(), PodMade().ended(70, message=FAILURE % "OutOfMemory")), True),
    ("Crashed", lambda: (JobMade().failed(), PodMade().ended(70)), True),
    ("Crashed", lambda: (JobMade().failed(EXIT % 70),), True),
    ("Stalled", lambda: (JobMade().failed(), PodMade().ended(75, message=FAILURE % "Stalled")), True),
    ("StoreUnreachable", lambda: (JobMade().failed(), PodMade().ended(75, message=FAILURE % "StoreUnreachable")), True),
    ("StoreUnreachable", lambda: (JobMade().complete(), PodMade().ended(75, name="sync").ended(0)), True),
    ("UploadFailed", lambda: (JobMade().complete(), PodMade().ended(1, name="sync").ended(0)), True),
    ("UploadFailed", lambda: (JobMade().complete(), PodMade().ended(64, name="sync").ended(0)), True),
    ("UploadFailed", lambda: (JobMade().complete(), PodMade().ended(137, "OOMKilled", name="sync").ended(0)), True),
    ("UploadFailed", lambda: (JobMade().complete(), PodMade().ended(143, name="sync").ended(0)), True),
    ("UploadFailed", lambda: (JobMade().complete(),), True),
    ("Evicted", lambda: (JobMade().failed(), PodMade().ended(143, name="sync").ended(0).given_up("Evicted")), False),
    ("Terminated", lambda: (JobMade().failed(), PodMade().ended(143)), True),
    ("PodDeleted", lambda: (JobMade().failed(), PodMade().ended(143).deleting()), True),
    ("PodDeleted", lambda: (JobMade().failed(),), True),
    ("JobDeleted", tuple, True),
]  # fmt: skip
KUBELET_MESSAGES = [
    ("OutOfMemory", "The node was low on resource: memory. Threshold quantity: 100Mi, available: 80Mi. ", True),
    ("OutOfDisk", "The node was low on resource: ephemeral-storage. Threshold quantity: 10Gi, available: 9Gi. ", True),
    ("OutOfDisk", "The node was low on resource: inodes. ", True),
    ("OutOfDisk", 'Usage of EmptyDir volume "scratch" exceeds the limit "600Gi". ', True),
    ("OutOfDisk", "Pod ephemeral local storage usage exceeds the total limit of containers 10Gi. ", True),
    ("OutOfDisk", 'Container trainer exceeded its local ephemeral storage limit "10Gi". ', True),
    ("Evicted", "The node was low on resource: pids. ", False),
    ("Evicted", "The node had condition: [DiskPressure]. ", False),
]
RETRIED += [
    (reason, lambda message=message: (JobMade().failed(), PodMade().given_up("Evicted", message)), counted)  # type: ignore[misc]
    for reason, message, counted in KUBELET_MESSAGES
]


@pytest.mark.parametrize(("reason", "seen", "counted"), RETRIED)
def test_a_retryable_failure_is_followed_by_another_attempt(reason: str, seen: Callable[[], Seen], counted: bool) -> None:
    story = Story().running()
    story.now(60, *seen())
    ended = story.status.attempts[0]
    assert (ended.reason, ended.counted, ended.end) == (reason, counted, at(60))
    assert ended.message
    assert story.events.count(reason) == 1
    if counted:
        assert (story.status.state, story.status.reason) == ("Pending", "BackOff")
        assert story.status.retry_at == at(70)
        assert story.looks_again_in == 10
        assert story.made == []
        story.now(70)
    assert story.status.attempt == 2
    assert f"Job/{NAME}-a2" in story.made


def test_a_changed_compute_replaces_an_attempt_that_waits() -> None:
    story = Story()
    story.now(0)
    story.now(10, JobMade(), PodMade().unschedulable())
    story.spec["compute"]["nodeSelector"] = {"pool": "free"}
    story.generation = 2
    story.now(20, JobMade(), PodMade().unschedulable())
    assert story.deleted == [f"Job/{NAME}-a1"]
    story.now(30)
    assert (story.status.attempts[0].reason, story.status.attempts[0].counted) == ("SpecChanged", False)
    assert f"Job/{NAME}-a2" in story.made


def test_a_changed_compute_does_not_stop_a_running_trainer() -> None:
    story = Story().running()
    story.spec["compute"]["nodeSelector"] = {"pool": "free"}
    story.generation = 2
    story.now(20, JobMade(), PodMade().running(at(1)))
    assert story.deleted == []


def test_the_reason_of_a_disruption_is_known_when_the_pod_is_gone() -> None:
    story = Story().running()
    story.now(50, JobMade(), PodMade().running().disrupted("PreemptionByScheduler").deleting(at(999)))
    story.now(60, JobMade().failed("Pod x has condition DisruptionTarget matching FailJob rule at index 1"))
    assert story.status.attempts[0].reason == "Preempted"


STOPPED: list[tuple[str, Callable[[], Seen], int | None]] = [
    ("BadInput", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "BadInput")), 64),
    ("BadInput", lambda: (JobMade().failed(EXIT % 64),), 64),
    ("BadInput", lambda: (JobMade().failed(), PodMade().ended(64).disrupted("EvictionByEvictionAPI")), 64),
    ("RewardCodeFailed", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "RewardCodeFailed")), 64),
    ("NotANumber", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "NotANumber")), 64),
    ("RewardCollapsed", lambda: (JobMade().failed(), PodMade().ended(64, message=FAILURE % "RewardCollapsed")), 64),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "seen", "code"), STOPPED)
def test_a_failure_that_a_retry_cannot_fix_ends_the_run(reason: str, seen: Callable[[], Seen], code: int | None) -> None:
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
def test_a_problem_that_may_resolve_itself_is_waited_for(reason: str, seen: Callable[[], Seen], more: dict[str, Any]) -> None:
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


def test_a_refused_object_is_not_retried_too_early() -> None:
    story = Story()
    story.now(0)
    refusal = Refusal(Reason.API_REFUSED, "Job: spec.template is invalid", at(30))
    story.now(10, refusal=refusal)
    assert story.made == []
    assert story.looks_again_in == 20
    story.now(30, refusal=refusal)
    assert f"Job/{NAME}-a1" in story.made


def test_an_invalid_image_name_ends_the_run() -> None:
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
    assert story.status.attempts[0].exit_code == 64
    assert "what happened" in story.message("Failed")


def test_an_attempt_without_steps_is_stalled_and_then_tried_again() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10)))
    assert story.looks_again_in == 300
    story.now(310, *objects, progress=report(at(300)))
    assert story.condition("StepsStalled") == ("True", "Stalled")
    assert story.deleted == []
    story.now(370, *objects, progress=report(at(360)))
    assert story.deleted == [f"Job/{NAME}-a1"]
    assert story.decision.delete[0].foreground
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
    assert story.condition("StepsStalled") == ("False", "Stepping")


def test_preparing_for_hours_is_no_stall() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10), stage="prepare", step=None))
    assert story.looks_again_in == 181
    story.now(8 * 3600, *objects, progress=report(at(8 * 3600 - 60), stage="prepare", step=None))
    assert story.condition("StepsStalled") == ("False", "Preparing")
    assert story.deleted == []


def test_a_silent_prepare_stage_gets_its_reporting_objects_again() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    last = report(at(10), stage="prepare", step=None)
    story.now(10, *objects, progress=last)
    story.now(191, *objects, progress=last)
    assert story.condition("StepsStalled") == ("Unknown", "NoReport")
    assert f"Role/{NAME}-a1" in story.made
    story.now(9000, *objects, progress=last)
    assert story.deleted == []


def test_the_stage_after_a_long_prepare_has_the_full_time_for_its_first_step() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10), stage="prepare", step=None))
    story.now(9000, *objects, progress=report(at(9000), stage="sft", step=None))
    assert story.condition("StepsStalled") == ("False", "Stepping")
    assert story.looks_again_in == 300
    story.now(9360, *objects, progress=report(at(9360), stage="sft", step=None))
    assert story.deleted == [f"Job/{NAME}-a1"]


def test_a_silent_attempt_continues_and_gets_its_reporting_objects_again() -> None:
    story = Story().running()
    story.now(10, JobMade(), PodMade().running(at(1)), progress=report(at(10), stage="prepare", step=None))
    story.now(20, JobMade().failed(), PodMade().ended(137, "OOMKilled"))
    story.now(30)
    objects = (JobMade(2), PodMade(2).running(at(40)))
    story.now(41, *objects)
    assert story.looks_again_in == 179
    story.now(220, *objects)
    assert story.condition("StepsStalled") == ("Unknown", "NoReport")
    assert "none has arrived" in story.message("StepsStalled")
    assert story.events.count("NoReport") == 1
    assert {f"Role/{NAME}-a2", f"RoleBinding/{NAME}-a2", f"ServiceAccount/{NAME}-trainer"} <= set(story.made)
    assert f"Job/{NAME}-a2" not in story.made
    story.now(4000, *objects)
    assert (story.deleted, story.status.state) == ([], "Running")
    story.now(4001, *objects, progress=report(at(4001)))
    assert story.condition("StepsStalled") == ("False", "Stepping")
    assert story.made == []


@pytest.mark.parametrize(("stall_after", "last"), [("5m", 300), ("1m", 10)])
def test_reports_that_are_lost_before_a_step_is_due_do_not_end_an_attempt(stall_after: str, last: int) -> None:
    story = Story(recovery__stallAfter=stall_after).running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10)))
    seen = []
    for second in range(20, last + 260, 10):
        story.now(second, *objects, progress=report(at(min(second, last))))
        assert story.deleted == []
        seen.append(story.condition("StepsStalled"))
    assert seen[-1] == ("Unknown", "NoReport")


def test_steps_count_after_the_nodes_clock_was_set_back() -> None:
    story = Story(recovery__stallAfter="2m").running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(500), step=3))
    for second in range(30, 400, 30):
        story.now(second, *objects, progress=report(at(second), step=second))
        assert (story.status.step, story.deleted) == (second, [])


def test_missing_reports_are_not_mistaken_for_missing_steps() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10)))
    story.now(400, *objects, progress=report(at(100)))
    assert story.condition("StepsStalled") == ("Unknown", "NoReport")
    assert "2026-04-01 12:01:40 UTC" in story.message("StepsStalled")
    assert story.deleted == []
    assert f"Role/{NAME}-a1" in story.made


def test_a_report_with_nothing_new_is_not_recorded_each_time() -> None:
    story = Story().running()
    objects = (JobMade(), PodMade().running(at(1)))
    story.now(10, *objects, progress=report(at(10), eta_seconds=99.7))
    assert story.now(120, *objects, progress=report(at(110), eta_seconds=99.7)).status is None
    assert story.now(700, *objects, progress=report(at(690), step=4)).status is not None


def test_counted_attempts_are_limited_and_waits_double() -> None:
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


def test_disruptions_do_not_count_and_only_many_in_a_row_cause_a_wait() -> None:
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
