"""Each way in which an attempt can end, provoked: its reason, the remedy, and what the operator does next."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from deepicd.spec.progress import Failure, FailureCode, write
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.builders import is_true, pod
from tests.cluster.operated import (
    attempts,
    ended,
    leftovers,
    quickstart,
    report,
    run_of,
    running_pod,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, TAKES_TO_STOP, end_pod, fail_pod

pytestmark = pytest.mark.usefixtures("run_definition")


def told(api: Api, namespace: str, reason: str) -> list[Raw]:
    return [each for each in api.events(run_of(api, namespace)) if each["reason"] == reason]


def ends_with_failure(api: Api, namespace: str, code: FailureCode, exit_code: int) -> None:
    """The trainer ends, and its termination log says why."""
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
def test_what_another_attempt_would_meet_again_ends_the_run(
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
    assert len(told(api, namespace, reason)) == 1


@pytest.mark.parametrize(
    ("code", "exit_code", "reason"),
    [
        (FailureCode.STALL, 75, "Stalled"),
        (FailureCode.STORE, 75, "StoreUnreachable"),
        (FailureCode.CRASH, 70, "Crashed"),
        (FailureCode.TERMINATED, 143, "Terminated"),
    ],
)
def test_what_may_pass_is_tried_again_and_counted(
    api: Api, namespace: str, operator: OperatorProcess, code: FailureCode, exit_code: int, reason: str
) -> None:
    api.create(quickstart(namespace))
    ends_with_failure(api, namespace, code, exit_code)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == (reason, True)
    assert len(told(api, namespace, reason)) == 1
    end_pod(api, running_pod(api, namespace, 2))
    wait_for_state(api, namespace, "Succeeded")


def test_a_next_attempt_goes_on_from_the_last_verified_checkpoint(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    now = api.get("Job", "quickstart-a1", namespace)["status"]["startTime"]
    checkpoint = {"stage": "grpo", "step": 10, "uri": "s3://models/x/step-000010", "sha256": "a" * 64, "time": now}
    report(api, namespace, stage="grpo", step=12, steps=15, time=now, checkpoint=checkpoint)
    ends_with_failure(api, namespace, FailureCode.CRASH, 70)
    ended(api, namespace)
    running_pod(api, namespace, 2)
    assert attempts(api, namespace)[1]["resumedFrom"] == "s3://models/x/step-000010"
    (_, second) = wait_for(lambda: (found := told(api, namespace, "AttemptStarted"))[1:] and found, 30, "it is not told")
    assert second["message"].split(";")[0] == "attempt 2 begins from grpo step 10"


def test_a_trainer_that_hangs_is_stopped_and_tried_again(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__stallAfter="2s"))
    running_pod(api, namespace)
    wait_for(lambda: is_true(run_of(api, namespace), "Stalled"), 60, "nobody suspects a stall")
    # The trainer ends itself at the limit; one that hangs too hard for that is ended by the operator.
    attempt = ended(api, namespace, seconds=120)
    assert (attempt["reason"], attempt["counted"]) == ("Stalled", True)
    running_pod(api, namespace, 2)


def test_a_preempted_attempt_is_free_and_goes_on_when_there_is_room(
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


def test_a_kubelet_that_gives_the_pod_up_is_an_eviction(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__maxAttempts=1))
    fail_pod(api, running_pod(api, namespace), "Evicted", "The node was low on resource: ephemeral-storage.")
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("Evicted", False)
    assert "ephemeral-storage" in attempt["message"]
    running_pod(api, namespace, 2)


def test_a_deleted_pod_is_replaced(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    api.delete("Pod", running_pod(api, namespace)["metadata"]["name"], namespace)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("PodDeleted", True)
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
    wait_for(lambda: not api.list("Pod", namespace), 30, "the pod goes on")
    assert len(told(api, namespace, "DeadlineExceeded")) == 1


def test_results_that_could_not_be_uploaded_are_no_success(api: Api, namespace: str, operator: OperatorProcess) -> None:
    store = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}
    api.create(quickstart(namespace, storage=store))
    end_pod(api, running_pod(api, namespace), sidecar_exit_code=75)
    assert ended(api, namespace)["reason"] == "StoreUnreachable"
    running_pod(api, namespace, 2)


def test_an_end_stays_whatever_becomes_of_the_job(api: Api, namespace: str, operator: OperatorProcess) -> None:
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
