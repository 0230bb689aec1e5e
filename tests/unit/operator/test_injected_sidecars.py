"""Sidecars injected by a service mesh or Vault keep the pod running: the attempt ends with the trainer."""

from __future__ import annotations

import pytest

from deepicd.spec.progress import Upload
from tests.unit.operator.builders import NAME, JobMade, PodMade, Story, at, iso, report

JOB = f"Job/{NAME}-a1"


def kept(code: int, sync: dict[str, object] | None = None, reason: str = "Error") -> PodMade:
    pod = PodMade()
    pod.raw["status"]["initContainerStatuses"] = [{"name": "sync", **(sync or {"state": {"running": {}}})}]
    return pod.ended(code, reason).kept_by("istio-proxy")


@pytest.mark.parametrize(("code", "why", "reason"), [(70, "Error", "Crashed"), (137, "OOMKilled", "OutOfMemory")])
def test_a_crash_is_seen_at_once_and_the_uploader_gets_its_time(code: int, why: str, reason: str) -> None:
    story = Story().running()
    story.now(61, JobMade(), kept(code, reason=why), progress=report(at(59)))
    assert story.deleted == [JOB]
    assert story.decision.delete[0].foreground
    assert story.status.attempts[0].reason == reason
    story.now(80, JobMade().deleting(), kept(code, reason=why).deleting(at(999)), progress=report(at(59)))
    assert story.status.attempts[0].end is None
    story.now(90)
    ended = story.status.attempts[0]
    assert (ended.reason, ended.end) == (reason, at(90))
    assert story.status.retry_at == at(100)


def test_a_success_waits_for_the_uploader() -> None:
    story = Story().running()
    story.now(61, JobMade(), kept(0), progress=report(at(59)))
    assert (story.deleted, story.status.state) == ([], "Running")


@pytest.mark.parametrize("how", ["restarted", "reported"])
def test_a_success_whose_results_are_stored_ends_the_pod_and_the_run(how: str) -> None:
    story = Story().running()
    again = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 0}}}
    upload = Upload(complete=True, time=at(70)) if how == "reported" else None
    story.now(75, JobMade(), kept(0, again if how == "restarted" else None), progress=report(at(59)), upload=upload)
    assert story.deleted == [JOB]
    story.now(80)
    assert (story.status.state, story.status.reason) == ("Succeeded", "Completed")
    assert story.status.attempts[0].exit_code == 0


@pytest.mark.parametrize("how", ["restarted", "reported"])
def test_an_uploader_that_ended_before_the_trainer_proves_nothing_about_its_results(how: str) -> None:
    story = Story(recovery__gracePeriod="2m").running()
    again: dict[str, object] = {"state": {"running": {"startedAt": iso(at(21))}}}
    if how == "restarted":
        again["lastState"] = {"terminated": {"exitCode": 0, "finishedAt": iso(at(20))}}
    upload = Upload(complete=True, time=at(20)) if how == "reported" else None
    story.now(61, JobMade(), kept(0, again), upload=upload)
    assert (story.deleted, story.status.state) == ([], "Running")
    story.now(180, JobMade(), kept(0, again), upload=upload)
    assert story.status.attempts[0].reason == "UploadFailed"


def test_a_success_observed_before_the_pod_was_gone_leaves_no_claim() -> None:
    story = Story(compute__scratch={"size": "1Gi", "storageClass": "fast"}).running()
    stored = {"terminated": {"exitCode": 0, "finishedAt": iso(at(75))}}
    story.now(76, JobMade(), kept(0, {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": stored}))
    story.now(100)
    assert story.status.state == "Succeeded"
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a1"]
    assert "not stored" not in (story.status.attempts[0].message or "")


def test_an_uploader_that_is_not_restarted_in_time_had_nothing_left() -> None:
    story = Story(recovery__gracePeriod="30s").running()
    stored = {"terminated": {"exitCode": 0, "finishedAt": iso(at(58))}}
    again: dict[str, object] = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": stored}
    story.now(91, JobMade(), kept(0, again))
    story.now(100)
    assert story.status.state == "Succeeded"


def test_a_success_whose_upload_does_not_end_is_stopped_after_the_grace_period() -> None:
    story = Story(recovery__gracePeriod="2m").running()
    story.now(61, JobMade(), kept(0), progress=report(at(59)))
    assert story.looks_again_in == 9
    story.now(100, JobMade(), kept(0), progress=report(at(59)))
    assert (story.deleted, story.looks_again_in) == ([], 80)
    story.now(180, JobMade(), kept(0), progress=report(at(59)))
    assert story.deleted == [JOB]
    story.now(300)
    assert story.status.attempts[0].reason == "UploadFailed"


def test_without_an_uploader_the_trainers_success_is_enough() -> None:
    story = Story()
    del story.spec["storage"]
    story.running()
    pod = kept(0)
    del pod.raw["spec"]["initContainers"]
    story.now(61, JobMade(), pod)
    assert story.deleted == [JOB]


def test_a_trainer_that_has_ended_is_not_stalled() -> None:
    story = Story(recovery__gracePeriod="2h").running()
    story.now(61, JobMade(), kept(0), progress=report(at(59)))
    story.now(3600, JobMade(), kept(0), progress=report(at(59)))
    assert story.deleted == []


def test_an_injected_container_that_fails_after_the_trainers_success_is_no_failure() -> None:
    story = Story().running()
    pod = PodMade().ended(0)
    pod.raw["status"]["phase"] = "Failed"
    pod.raw["status"]["containerStatuses"].append({"name": "istio-proxy", "state": {"terminated": {"exitCode": 255}}})
    story.now(60, JobMade().failed(), pod)
    assert story.status.state == "Succeeded"
