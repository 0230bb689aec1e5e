"""How attempts on several nodes end: KubeRay's status of the RayJob, and what remains to be deleted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.unit.operator.builders import NAME, JobMade, PodMade, RayJobMade, Story, at, report

RAY_EXIT = "Job entrypoint command failed with exit code %d, last available logs (truncated to 20,000 chars):\nmkdir: x"

Seen = tuple[JobMade | PodMade, ...]


def on_nodes() -> Story:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    story.now(0)
    assert story.made[-1] == f"RayJob/{NAME}-a1"
    assert f"PersistentVolumeClaim/{NAME}-a1" in story.made
    story.now(1, RayJobMade(), complete=False)
    story.now(1, RayJobMade().is_at("Running", "RUNNING"), PodMade().running().of_ray("head"), progress=report())
    assert story.status.state == "Running"
    return story


def test_an_attempt_runs_when_all_its_nodes_do() -> None:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    story.now(0)
    head, worker = PodMade().running().of_ray("head"), PodMade().unschedulable().of_ray("worker")
    story.now(5, RayJobMade().is_at("Initializing"), head, worker)
    assert (story.status.state, story.status.reason) == ("Pending", "Unschedulable")
    story.now(9, RayJobMade().is_at("Running", "RUNNING"), head, PodMade().running(at(8)).of_ray("worker"))
    assert (story.status.state, story.status.attempts[0].running) == ("Running", at(8))


def failed(code: int) -> RayJobMade:
    return RayJobMade().is_at("Failed", "FAILED", RAY_EXIT % code)


ENDINGS: list[tuple[str, Callable[[], Seen], int | None]] = [
    ("Completed", lambda: (RayJobMade().is_at("Complete", "SUCCEEDED"),), 0),
    ("BadInput", lambda: (failed(64), PodMade().running().of_ray("head")), 64),
    ("Crashed", lambda: (failed(70), PodMade().running().of_ray("head").deleting()), 70),
    ("Evicted", lambda: (
        failed(70), PodMade().running().of_ray("head"), PodMade().running().of_ray("worker").disrupted("EvictionByEvictionAPI"),
    ), 70),
    ("PodDeleted", lambda: (RayJobMade().is_at("Complete", "STOPPED"),), None),
    ("BadInput", lambda: (RayJobMade().is_at("ValidationFailed", message="RayJob name should be no more"),), None),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "seen", "exit_code"), ENDINGS)
def test_kuberays_status_ends_the_attempt(reason: str, seen: Callable[[], Seen], exit_code: int | None) -> None:
    story = on_nodes()
    story.now(60, *seen())
    ended = story.status.attempts[0]
    assert (ended.reason, ended.exit_code) == (reason, exit_code)
    assert "last available logs" not in (ended.message or "")


def head(name: str = "head") -> PodMade:
    pod = PodMade().running().of_ray("head")
    pod.raw["metadata"] |= {"name": name, "uid": name, "creationTimestamp": at(0 if name == "head" else 90).isoformat()}
    return pod


def worker() -> PodMade:
    return PodMade().running().of_ray("worker")


LOST_HEADS: list[tuple[str, Callable[[], Seen]]] = [
    ("PodDeleted", lambda: (head("another"), worker())),
    ("PodDeleted", lambda: (worker(),)),
    ("PodDeleted", lambda: (head().ended(0).deleting(), worker())),
    ("OutOfMemory", lambda: (head().ended(137, "OOMKilled"), worker())),
    ("Crashed", lambda: (head().ended(1), worker())),
    ("NodeLost", lambda: (head("another"), worker().disrupted("DeletionByTaintManager"))),
]


@pytest.mark.parametrize(("reason", "seen"), LOST_HEADS)
def test_a_lost_head_ends_the_attempt_although_kuberay_continues(reason: str, seen: Callable[[], Seen]) -> None:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    goes_on = RayJobMade().is_at("Running", "RUNNING")
    story.now(0)
    story.now(1, goes_on, complete=False)
    story.now(2, goes_on, head(), worker(), progress=report())
    story.now(60, goes_on, *seen())
    assert story.deleted == [f"RayJob/{NAME}-a1"]
    story.now(61)
    assert story.status.attempts[0].reason == reason


def test_a_head_that_replaces_one_that_never_ran_is_waited_for() -> None:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    story.now(0)
    story.now(1, RayJobMade().is_at("Initializing"), complete=False)
    story.now(2, RayJobMade().is_at("Initializing"), head(), PodMade().placed().of_ray("worker"))
    story.now(60, RayJobMade().is_at("Initializing"), head("another"), PodMade().placed().of_ray("worker"))
    story.now(90, RayJobMade().is_at("Running", "RUNNING"), head("another"), worker(), progress=report())
    story.now(91, RayJobMade().is_at("Running", "RUNNING"), head("another"), worker(), progress=report())
    assert (story.deleted, story.status.attempts[0].pod) == ([], "another")


def test_a_worker_that_is_seen_first_is_not_mistaken_for_the_head() -> None:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    goes_on = RayJobMade().is_at("Running", "RUNNING")
    story.now(0)
    story.now(1, goes_on, complete=False)
    story.now(2, goes_on, worker())
    story.now(3, goes_on, head(), worker(), progress=report())
    assert (story.deleted, story.status.attempts[0].pod) == ([], "head")


def test_the_ray_job_is_deleted_with_the_attempt_and_not_with_the_run() -> None:
    story = on_nodes()
    story.now(60, RayJobMade().is_at("Complete", "SUCCEEDED"))
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a1", f"RayJob/{NAME}-a1"]
    story.now(61)
    assert story.deleted == []
    assert story.status.state == "Succeeded"


def test_the_volume_of_a_ray_job_that_failed_is_kept() -> None:
    story = on_nodes()
    story.now(60, failed(75), PodMade().running().of_ray("head"))
    assert f"PersistentVolumeClaim/{NAME}-a1" not in story.deleted
    assert story.status.attempts[0].volume == f"{NAME}-a1"


def test_the_ray_job_stays_while_the_attempt_continues() -> None:
    story = on_nodes()
    story.now(60, RayJobMade().is_at("Running", "RUNNING"), PodMade().running().of_ray("head"), progress=report())
    assert story.deleted == []


def test_a_rayjob_that_kuberay_rejects_never_ran_and_leaves_no_claim() -> None:
    story = Story(compute__nodes=2, compute__scratch={"storageClass": "shared"})
    story.now(0)
    story.now(60, RayJobMade().is_at("ValidationFailed", message="RayJob name should be no more"))
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a1", f"RayJob/{NAME}-a1"]
    assert "not stored" not in (story.status.attempts[0].message or "")
