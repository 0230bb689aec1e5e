"""An attempt succeeds only if all results are stored; the remaining ones are kept if possible, and the message says where."""

from __future__ import annotations

from typing import Any

import pytest

from deepicd.spec.progress import Upload
from tests.unit.operator.builders import NAME, JobMade, PodMade, Story, at, checkpoint, iso, report

CLAIM = f"PersistentVolumeClaim/{NAME}-a1"
FAST = {"size": "1Gi", "storageClass": "fast"}
STORED = Upload(complete=True, time=at(60))


def succeeded(sync: int, reason: str = "Error") -> PodMade:
    """A pod whose trainer exited with 0 and whose uploader exited with a code."""
    return PodMade().ended(sync, reason, name="sync").ended(0)


def test_the_uploader_must_have_ended_with_0() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), succeeded(0))
    assert story.status.state == "Succeeded"


@pytest.mark.parametrize(
    ("code", "why", "reason"),
    [
        (75, "Error", "StoreUnreachable"),
        (1, "Error", "UploadFailed"),
        (64, "Error", "UploadFailed"),
        (137, "OOMKilled", "UploadFailed"),
        (143, "Error", "UploadFailed"),
    ],
)
def test_missing_uploads_are_no_success_however_the_uploader_ended(code: int, why: str, reason: str) -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), succeeded(code, why))
    attempt = story.status.attempts[0]
    assert (story.status.state, attempt.reason, attempt.exit_code, attempt.counted) == ("Pending", reason, code, True)


def test_an_uploader_that_ran_out_of_memory_is_named_with_the_field_that_helps() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), succeeded(137, "OOMKilled"))
    message = story.status.attempts[0].message or ""
    assert "it used more than its memory limit" in message
    assert "compute.uploader.memoryLimit" in message
    assert story.status.attempts[0].exit_code == 137


def test_its_last_report_counts_if_the_pod_is_gone() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), upload=STORED)
    assert story.status.state == "Succeeded"


@pytest.mark.parametrize(("last", "state"), [(0, "Succeeded"), (137, "Pending")])
def test_an_uploader_waiting_for_a_restart_when_the_pod_ended_counts_by_its_last_launch(last: int, state: str) -> None:
    story = Story().running()
    pod = PodMade().ended(0)
    pod.raw["status"]["initContainerStatuses"] = [{
        "name": "sync",
        "state": {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": "0001-01-01T00:00:00Z"}},
        "lastState": {"terminated": {"exitCode": last, "reason": "Error"}},
    }]  # fmt: skip
    story.now(60, JobMade().complete(), pod)
    assert story.status.state == state


@pytest.mark.parametrize("code", [75, 137])
def test_a_report_of_an_earlier_launch_of_the_uploader_is_no_success(code: int) -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), succeeded(code), upload=Upload(complete=True, time=at(-1)))
    assert story.status.state == "Pending"


def test_a_restart_of_the_uploader_is_no_end() -> None:
    story = Story().running()
    restarted = {"state": {"running": {}}, "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}
    pod = PodMade().running(at(1))
    pod.raw["status"]["initContainerStatuses"] = [{"name": "sync", **restarted}]
    story.now(60, JobMade(), pod, progress=report(at(60)))
    assert (story.status.state, story.deleted) == ("Running", [])


def test_an_uploader_that_is_restarted_repeatedly_is_a_warning() -> None:
    story = Story().running()
    ended = {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}

    def look(seconds: float, restarts: int, state: dict[str, Any], last: dict[str, Any]) -> tuple[str, str]:
        pod = PodMade().running(at(1))
        status = {"name": "sync", "restartCount": restarts, "state": state, "lastState": last}
        pod.raw["status"]["initContainerStatuses"] = [status]
        story.now(seconds, JobMade(), pod, progress=report(at(seconds)), stored=checkpoint(10))
        return story.condition("CheckpointDurable")

    failing = ("False", "UploaderFailing")
    assert look(10, 1, ended, {}) == ("True", "Uploaded")
    assert look(20, 2, {"waiting": {"reason": "CrashLoopBackOff"}}, ended) == failing
    assert "exit code 137, OOMKilled" in story.message("CheckpointDurable")
    assert look(30, 3, ended, ended) == failing
    running = {"running": {"startedAt": iso(at(40))}}
    assert look(41, 4, running, ended) == failing
    assert story.looks_again_in == 59
    assert look(100, 4, running, ended) == ("True", "Uploaded")
    assert story.events.count("UploaderFailing") == 1


def test_without_a_store_nothing_is_uploaded_and_only_the_trainer_counts() -> None:
    story = Story()
    del story.spec["storage"]
    story.now(0)
    story.now(60, JobMade().complete(), complete=True)
    assert story.status.state == "Succeeded"


def test_a_long_upload_is_shown() -> None:
    story = Story().running()
    pod = PodMade().ended(0)
    pod.raw["status"] |= {"phase": "Running", "initContainerStatuses": [{"name": "sync", "state": {"running": {}}}]}
    story.now(61, JobMade(), pod, progress=report(at(60)))
    assert story.condition("Running") == ("True", "Running")
    assert story.looks_again_in == 9
    story.now(70, JobMade(), pod, progress=report(at(60)))
    assert story.condition("Running") == ("True", "Uploading")


def test_an_ended_upload_is_not_shown_as_running_before_its_job_has_ended() -> None:
    story = Story().running()
    pod = PodMade().ended(0)
    pod.raw["status"] |= {"phase": "Running", "initContainerStatuses": [{"name": "sync", "state": {"running": {}}}]}
    story.now(70, JobMade(), pod, progress=report(at(60)))
    events = list(story.events)
    story.now(80, JobMade(), succeeded(0), progress=report(at(60)))
    assert (story.condition("Running"), story.events) == (("True", "Uploading"), events)


@pytest.mark.parametrize("end", ["crash", "node", "upload"])
def test_a_claim_is_kept_with_what_was_not_uploaded_and_the_message_names_it(end: str) -> None:
    story = Story(compute__scratch=FAST).running()
    objects = {
        "crash": (JobMade().failed(), PodMade().ended(137, name="sync").ended(70)),
        "node": (JobMade().failed(), PodMade().running().disrupted("DeletionByTaintManager")),
        "upload": (JobMade().complete(), succeeded(75)),
    }[end]
    story.now(60, *objects)
    assert CLAIM not in story.deleted
    assert story.status.attempts[0].volume == f"{NAME}-a1"
    message = story.status.attempts[0].message or ""
    assert f"what was not stored is on PersistentVolumeClaim {NAME}-a1, and manifests/upload-the-rest.yaml" in message


def test_a_claim_whose_content_is_stored_is_deleted() -> None:
    story = Story(compute__scratch=FAST).running()
    story.now(60, JobMade().failed(), PodMade().ended(70), upload=STORED)
    assert story.deleted == [CLAIM]
    assert story.status.attempts[0].volume is None
    assert "PersistentVolumeClaim" not in (story.status.attempts[0].message or "")


def test_only_the_newest_ended_attempt_keeps_its_claim_and_none_after_a_success() -> None:
    story = Story(compute__scratch=FAST).running()
    story.now(60, JobMade().failed(), PodMade().ended(137, name="sync").ended(70))
    story.now(70)
    story.now(80, JobMade(2), PodMade(2).running(at(75)), progress=report(at(80)))
    assert story.deleted == []
    story.now(90, JobMade(2).failed(), PodMade(2).ended(137, name="sync").ended(70))
    assert story.deleted == [CLAIM]
    story.now(120)
    story.now(130, JobMade(3), PodMade(3).running(at(125)), progress=report(at(130)))
    story.now(140, JobMade(3).complete(), PodMade(3).ended(0))
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a2", f"PersistentVolumeClaim/{NAME}-a3"]


def test_a_claim_of_an_attempt_that_never_ran_is_deleted() -> None:
    story = Story(compute__scratch=FAST)
    story.now(0)
    story.spec["suspend"] = True
    story.now(10, JobMade(), PodMade().unschedulable())
    story.now(20)
    assert story.deleted == [CLAIM]


@pytest.mark.parametrize("end", ["complete", "failed", "deleted"])
def test_a_claim_is_kept_if_the_attempt_may_have_run_unobserved(end: str) -> None:
    story = Story(compute__scratch=FAST)
    story.now(0)
    objects = {"complete": [JobMade().complete()], "failed": [JobMade().failed()], "deleted": []}[end]
    story.now(600, *objects, complete=True)
    assert story.deleted == []
    assert story.status.attempts[0].volume == f"{NAME}-a1"
    assert CLAIM.split("/")[1] in (story.status.attempts[0].message or "")


def test_a_success_that_no_operator_saw_run_leaves_no_claim() -> None:
    story = Story(compute__scratch=FAST).running()
    story.now(60, JobMade().complete(), succeeded(75))
    story.now(70)
    story.now(600, JobMade(2).complete(), upload=STORED, complete=True)
    assert story.status.state == "Succeeded"
    assert story.deleted == [CLAIM, f"PersistentVolumeClaim/{NAME}-a2"]


def test_an_attempt_that_never_ran_leaves_the_claim_of_the_one_before() -> None:
    story = Story(compute__scratch=FAST).running()
    story.now(60, JobMade().complete(), succeeded(75))
    story.now(70)
    waiting = (JobMade(2), PodMade(2).unschedulable())
    story.now(80, *waiting)
    story.spec["suspend"] = True
    story.now(90, *waiting)
    story.now(100)
    assert story.status.state == "Suspended"
    assert story.deleted == [f"PersistentVolumeClaim/{NAME}-a2"]
    assert [attempt.volume for attempt in story.status.attempts] == [f"{NAME}-a1", None]


def test_without_a_store_the_claim_is_the_result_and_stays() -> None:
    story = Story(compute__scratch=FAST)
    del story.spec["storage"]
    story.running()
    story.now(60, JobMade().complete(), PodMade().ended(0))
    assert (story.status.state, story.deleted) == ("Succeeded", [])
    assert story.status.attempts[0].volume == f"{NAME}-a1"
    message = story.status.attempts[0].message or ""
    assert f"its results are only on PersistentVolumeClaim {NAME}-a1" in message
    assert "upload" not in message


def test_results_that_are_lost_with_the_nodes_disk_are_reported_as_lost() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), succeeded(75))
    assert "with compute.scratch.storageClass the volume would be kept" in (story.status.attempts[0].message or "")


@pytest.mark.parametrize("why", ["deadline", "suspend"])
def test_an_upload_after_the_trainers_success_is_not_stopped(why: str) -> None:
    story = Story(**({"recovery__deadline": "100s"} if why == "deadline" else {})).running()
    story.spec["suspend"] = why == "suspend"
    pod = PodMade().ended(0)
    pod.raw["status"] |= {"phase": "Running", "initContainerStatuses": [{"name": "sync", "state": {"running": {}}}]}
    story.now(150, JobMade(), pod, progress=report(at(60)))
    assert story.deleted == []
    story.now(160, JobMade().complete(), succeeded(0))
    assert story.status.state == "Succeeded"


def test_a_run_can_be_suspended_whose_upload_has_not_ended_in_its_time() -> None:
    story = Story(recovery__gracePeriod="2m").running()
    story.spec["suspend"] = True
    pod = PodMade().ended(0)
    pod.raw["status"] |= {"phase": "Running", "initContainerStatuses": [{"name": "sync", "state": {"running": {}}}]}
    story.now(170, JobMade(), pod, progress=report(at(60)))
    assert (story.deleted, story.looks_again_in) == ([], 10)
    story.now(180, JobMade(), pod, progress=report(at(60)))
    assert story.deleted == [f"Job/{NAME}-a1"]


@pytest.mark.parametrize(("why", "state"), [("deadline", "Failed"), ("suspend", "Suspended")])
def test_an_upload_that_fails_after_the_deadline_or_a_suspension_is_not_tried_again(why: str, state: str) -> None:
    story = Story(**({"recovery__deadline": "100s"} if why == "deadline" else {})).running()
    story.spec["suspend"] = why == "suspend"
    story.now(160, JobMade().complete(), succeeded(75))
    assert (story.status.state, story.made) == (state, [])
