"""Provokes each way in which an attempt can end: its reason, its remedy, and what the operator does next."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
import yaml

from deepicd.spec.progress import Failure, FailureCode, write
from deepicd.spec.resource_names import RUN_ANNOTATION
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.builders import is_true, pod
from tests.cluster.operated import (
    attempts,
    ended,
    leftovers,
    quickstart,
    reason_of,
    report,
    run_of,
    running_pod,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, TAKES_TO_STOP, end_pod, fail_pod

pytestmark = pytest.mark.usefixtures("run_definition")

STORE = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}


def now() -> str:
    return datetime.now(UTC).isoformat()


def events_of(api: Api, namespace: str, reason: str) -> list[Raw]:
    return [each for each in api.events(run_of(api, namespace)) if each["reason"] == reason]


def ends_with_failure(api: Api, namespace: str, code: FailureCode, exit_code: int) -> None:
    """The trainer ends with a termination log that gives the cause."""
    failure = write(Failure(code=code, message="grpo: loss at step 7 is nan: lower learningRate"))
    end_pod(api, running_pod(api, namespace), exit_code, termination_log=failure)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (FailureCode.NOT_A_NUMBER, "NotANumber"),
        (FailureCode.REWARD_COLLAPSE, "RewardCollapsed"),
        (FailureCode.REWARD_CODE, "RewardCodeFailed"),
        (FailureCode.BAD_INPUT, "BadInput"),
    ],
)
def test_a_failure_that_would_repeat_ends_the_run(
    api: Api, namespace: str, operator: OperatorProcess, code: FailureCode, reason: str
) -> None:
    api.create(quickstart(namespace))
    ends_with_failure(api, namespace, code, 64)
    failed = wait_for_state(api, namespace, "Failed")
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["exitCode"], len(attempts(api, namespace))) == (reason, 64, 1)
    assert "loss at step 7 is nan" in attempt["message"]
    assert is_true(failed, "Failed")
    assert is_true(failed, "RewardCollapsed") == (reason == "RewardCollapsed")
    assert len(events_of(api, namespace, reason)) == 1


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        (FailureCode.STALL, 75, "Stalled"),
        (FailureCode.STORE, 75, "StoreUnreachable"),
        (FailureCode.CRASH, 70, "Crashed"),
        (FailureCode.TERMINATED, 143, "Terminated"),
    ],
)
def test_a_transient_failure_is_retried_and_counted(
    api: Api, namespace: str, operator: OperatorProcess, code: FailureCode, exit_code: int, reason: str
) -> None:
    api.create(quickstart(namespace))
    ends_with_failure(api, namespace, code, exit_code)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == (reason, True)
    assert len(events_of(api, namespace, reason)) == 1
    end_pod(api, running_pod(api, namespace, 2))
    wait_for_state(api, namespace, "Succeeded")


def test_the_next_attempt_resumes_from_the_verified_checkpoint(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    now = api.get("Job", "quickstart-a1", namespace)["status"]["startTime"]
    checkpoint = {"stage": "grpo", "step": 10, "uri": "s3://models/x/step-000010", "sha256": "a" * 64, "time": now}
    report(api, namespace, stage="grpo", step=12, steps=15, time=now, checkpoint=checkpoint)
    ends_with_failure(api, namespace, FailureCode.CRASH, 70)
    ended(api, namespace)
    running_pod(api, namespace, 2)
    assert attempts(api, namespace)[1]["resumedFrom"] == "s3://models/x/step-000010"
    (_, second) = wait_for(lambda: (found := events_of(api, namespace, "AttemptStarted"))[1:] and found, 30, "no second event")
    assert second["message"].split(";")[0] == "attempt 2 resumes from grpo step 10"


def test_a_trainer_that_hangs_is_stopped_and_retried(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__stallAfter="2s"))
    running_pod(api, namespace)
    suspected = False

    def look() -> Raw | None:
        # It reports, but makes no steps. Its own supervisor would end it at the limit; if that hangs too, the operator does.
        nonlocal suspected
        report(api, namespace, stage="grpo", step=3, steps=15, time=now())
        suspected = suspected or is_true(run_of(api, namespace), "StepsStalled")
        return next((each for each in attempts(api, namespace) if each.get("end")), None)

    attempt = wait_for(look, 60, lambda: run_of(api, namespace)["status"])
    assert (attempt["reason"], attempt["counted"], suspected) == ("Stalled", True, True)
    running_pod(api, namespace, 2)


def test_a_silent_trainer_continues_and_gets_its_reporting_objects_back(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace, recovery__stallAfter="2s"))
    running_pod(api, namespace)
    wait_for(lambda: api.find("RoleBinding", "quickstart-a1", namespace), 30, "it cannot report yet")
    for kind, name in (("Role", "quickstart-a1"), ("ServiceAccount", "quickstart-trainer")):
        api.delete(kind, name, namespace)
    wait_for(lambda: reason_of(api, namespace, "StepsStalled") == "NoReport", 60, lambda: run_of(api, namespace)["status"])
    for kind, name in (("Role", "quickstart-a1"), ("ServiceAccount", "quickstart-trainer")):
        wait_for(lambda kind=kind, name=name: api.find(kind, name, namespace), 30, f"{kind} is not made again")  # type: ignore[misc]
    assert len(events_of(api, namespace, "NoReport")) == 1
    # Longer than the time after which an attempt that reports would be stopped.
    time.sleep(6)
    assert [each.get("end") for each in attempts(api, namespace)] == [None]
    steps = itertools.count(3)

    def steps_again() -> bool:
        report(api, namespace, stage="grpo", step=next(steps), steps=1000, time=now())
        return reason_of(api, namespace, "StepsStalled") == "Stepping"

    wait_for(steps_again, 30, lambda: run_of(api, namespace)["status"])


def test_a_preempted_attempt_is_not_counted_and_resumes_when_there_is_room(
    api: Api, namespace: str, operator: OperatorProcess, make_node: Callable[..., Raw]
) -> None:
    make_node(gpus=1)
    important = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": namespace}, "value": 1000}
    api.create(important)
    try:
        place = {"pool": namespace}
        saves = {TAKES_TO_STOP: "3s"}
        api.create(quickstart(namespace, saves, recovery__maxAttempts=1, compute__nodeSelector=place))
        running_pod(api, namespace)
        api.create(pod(namespace, "urgent", gpus=1, priorityClassName=namespace, nodeSelector=place))
        attempt = ended(api, namespace)
        assert (attempt["reason"], attempt["counted"]) == ("Preempted", False)
        api.delete("Pod", "urgent", namespace, grace=0)
        end_pod(api, running_pod(api, namespace, 2))
        wait_for_state(api, namespace, "Succeeded")
    finally:
        api.delete("PriorityClass", namespace)


def test_an_eviction_for_lack_of_disk_is_counted(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__maxAttempts=2))
    fail_pod(api, running_pod(api, namespace), "Evicted", "The node was low on resource: ephemeral-storage.")
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("OutOfDisk", True)
    assert "ephemeral-storage" in attempt["message"]
    running_pod(api, namespace, 2)


def test_a_deleted_pod_is_replaced(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    api.delete("Pod", running_pod(api, namespace)["metadata"]["name"], namespace)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("PodDeleted", True)
    running_pod(api, namespace, 2)


def test_a_pod_whose_job_was_deleted_without_it_does_not_train_on(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    pod = running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    api.delete("Job", "quickstart-a1", namespace, orphan=True)
    assert ended(api, namespace)["reason"] == "JobDeleted"
    wait_for(lambda: api.find("Pod", pod["metadata"]["name"], namespace) is None, 30, "it trains on")
    running_pod(api, namespace, 2)


def test_a_deleted_job_is_replaced(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    api.delete("Job", "quickstart-a1", namespace)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("JobDeleted", True)
    running_pod(api, namespace, 2)


def test_the_deadline_ends_the_run_and_its_pod(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__deadline="3s"))
    wait_for_state(api, namespace, "Failed")
    assert ended(api, namespace)["reason"] == "DeadlineExceeded"
    wait_for(lambda: not api.list("Pod", namespace), 30, "the pod is still there")
    assert len(events_of(api, namespace, "DeadlineExceeded")) == 1


def test_missing_uploads_are_retried(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, storage=STORE, recovery__maxAttempts=9))
    ends = [(75, "Error", "StoreUnreachable"), (137, "OOMKilled", "UploadFailed")]
    for number, (code, why, reason) in enumerate(ends, start=1):
        end_pod(api, running_pod(api, namespace, number), sidecar_exit_code=code, sidecar_reason=why)
        attempt = ended(api, namespace, number)
        assert (attempt["reason"], attempt["exitCode"], attempt["counted"]) == (reason, code, True)
    end_pod(api, running_pod(api, namespace, 3))
    wait_for_state(api, namespace, "Succeeded")


def test_the_claim_of_missing_uploads_is_kept_until_it_is_not_needed(
    api: Api, namespace: str, operator: OperatorProcess, volume: str
) -> None:
    scratch = {"size": "1Gi", "storageClass": volume}
    api.create(quickstart(namespace, storage=STORE, compute__scratch=scratch))
    claim = wait_for(lambda: api.find("PersistentVolumeClaim", "quickstart-a1", namespace), 30, "there is no claim")
    assert claim["metadata"]["ownerReferences"][0]["kind"] == "DeepICDRun"
    end_pod(api, running_pod(api, namespace), sidecar_exit_code=75)
    attempt = ended(api, namespace)
    assert attempt["volume"] == "quickstart-a1"
    assert "PersistentVolumeClaim quickstart-a1" in attempt["message"]
    wait_for(lambda: api.find("PersistentVolumeClaim", "quickstart-a2", namespace), 30, "the next attempt has no claim")
    assert api.find("PersistentVolumeClaim", "quickstart-a1", namespace) is not None


def test_a_recorded_end_stays_whatever_happens_to_the_job(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))
    done = wait_for_state(api, namespace, "Succeeded")
    api.delete("Job", "quickstart-a1", namespace)
    wait_for(lambda: not api.list("Job", namespace), 30, "the Job is still there")
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"suspend": True}})

    def seen() -> bool:
        return bool(run_of(api, namespace)["status"]["observedGeneration"] == done["metadata"]["generation"] + 1)

    wait_for(seen, 30, "the operator does not look at it")
    status = run_of(api, namespace)["status"]
    assert (status["state"], len(status["attempts"]), api.list("Job", namespace)) == ("Succeeded", 1, [])


def test_a_finished_run_is_deleted_after_its_time(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__ttlAfterFinished="5s"))
    pod = running_pod(api, namespace)
    assert leftovers(api, namespace)
    end_pod(api, pod)
    ended = datetime.fromisoformat(wait_for_state(api, namespace, "Succeeded")["status"]["completionTime"])
    wait_for(lambda: api.find("DeepICDRun", "quickstart", namespace) is None, 60, "the run is still there")
    assert datetime.now(UTC) >= ended + timedelta(seconds=5)
    wait_for(lambda: not leftovers(api, namespace), 60, lambda: leftovers(api, namespace))
    assert leftovers(api, namespace) == []


def test_a_run_whose_gpu_ran_out_of_memory_resumes_from_its_checkpoint_when_its_spec_is_changed(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace, storage=STORE, recovery__maxAttempts=1))
    pod = running_pod(api, namespace)
    stored = {"stage": "grpo", "step": 10, "uri": "s3://models/10", "sha256": "a" * 64, "time": now()}
    report(api, namespace, stage="grpo", step=12, time=now(), checkpoint=stored)
    failure = write(Failure(code=FailureCode.GPU_OUT_OF_MEMORY, message="grpo: a GPU ran out of memory"))
    end_pod(api, pod, 64, termination_log=failure)
    wait_for_state(api, namespace, "Failed")
    assert "microBatchSizePerGpu" in ended(api, namespace)["message"]
    assert api.find("Job", "quickstart-a2", namespace) is None
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"stages": {"grpo": {"microBatchSizePerGpu": 1}}}})
    changed = wait_for_state(api, namespace, "Running")
    assert not is_true(changed, "Failed")
    second = attempts(api, namespace)[1]
    assert (second["resumedFrom"], second["generation"]) == ("s3://models/10", changed["metadata"]["generation"])
    assert len(events_of(api, namespace, "SpecChanged")) == 1
    pod = running_pod(api, namespace, 2)
    run_file = yaml.safe_load(pod["metadata"]["annotations"][RUN_ANNOTATION])
    assert run_file["spec"]["stages"]["grpo"]["microBatchSizePerGpu"] == 1
    end_pod(api, pod)
    wait_for_state(api, namespace, "Succeeded")
