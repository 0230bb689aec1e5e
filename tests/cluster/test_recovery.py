"""Each way in which an attempt can end, provoked: its reason, the remedy, and what the operator does next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lightkube import ApiError

from deepicd.spec.progress import Failure, FailureCode, write
from deepicd_operator.crd import crd
from deepicd_operator.reasons import Reason
from tests.cluster.api import Api, Raw, refusal, wait_for
from tests.cluster.builders import condition, is_true, pod
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operated import (
    USER,
    grant,
    leftovers,
    pod_of,
    quickstart,
    report,
    run_of,
    running_pod,
    state_of,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, TAKES_TO_STOP, end_pod, fail_pod

pytestmark = pytest.mark.usefixtures("run_definition")


def attempts(api: Api, namespace: str) -> list[Raw]:
    return list((run_of(api, namespace).get("status") or {}).get("attempts") or ())


def ended(api: Api, namespace: str, number: int = 1, seconds: float = 60) -> Raw:
    """An attempt that is over; its message says what to do, if anything is to be done."""

    def look() -> Raw | None:
        return next((each for each in attempts(api, namespace) if each["number"] == number and each.get("end")), None)

    attempt = wait_for(look, seconds, lambda: run_of(api, namespace).get("status"))
    assert attempt["message"].endswith(Reason(attempt["reason"]).explanation.remedy)
    return attempt


def told(api: Api, namespace: str, reason: str) -> list[Raw]:
    return [each for each in api.events(run_of(api, namespace)) if each["reason"] == reason]


def reason_of(api: Api, namespace: str, kind: str) -> str:
    found = condition(run_of(api, namespace), kind)
    return found["reason"] if found else ""


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
    (started,) = [each for each in told(api, namespace, "AttemptStarted") if "attempt 2" in each["message"]]
    assert started["message"] == "attempt 2 begins from grpo step 10"


def test_a_trainer_that_hangs_is_stopped_and_tried_again(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__stallAfter="2s"))
    running_pod(api, namespace)
    wait_for(lambda: is_true(run_of(api, namespace), "Stalled"), 60, "nobody suspects a stall")
    # The trainer ends itself at the limit; one that hangs too hard for that is ended a minute later.
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
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}, recovery__ttlAfterFinished="5s"))
    wait_for_state(api, namespace, "Succeeded")
    wait_for(lambda: api.find("DeepICDRun", "quickstart", namespace) is None, 60, "the run is still there")
    wait_for(lambda: not leftovers(api, namespace), 60, lambda: leftovers(api, namespace))


def test_a_pod_that_the_namespace_forbids_is_named_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    patch = {"spec": {"hostNetwork": True}}
    content = quickstart(namespace)
    content["spec"]["compute"]["podTemplatePatch"] = patch
    api.create(content)
    wait_for(lambda: reason_of(api, namespace, "Scheduled") == "PodRefused", 60, lambda: run_of(api, namespace)["status"])
    message = (condition(run_of(api, namespace), "Scheduled") or {})["message"]
    assert "hostNetwork" in message
    assert "compute.podTemplatePatch" in message


def test_a_name_that_is_taken_is_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    taken = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "quickstart-trainer", "namespace": namespace}}
    api.create(taken)
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))
    wait_for(lambda: reason_of(api, namespace, "Scheduled") == "NameTaken", 60, lambda: run_of(api, namespace)["status"])
    assert "quickstart-trainer" in (condition(run_of(api, namespace), "Scheduled") or {})["message"]
    api.delete("ServiceAccount", "quickstart-trainer", namespace)
    wait_for_state(api, namespace, "Succeeded", 120)


def test_a_corrected_compute_replaces_an_attempt_that_waits(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, compute__nodeSelector={"pool": "nowhere"}))
    wait_for(lambda: reason_of(api, namespace, "Scheduled") == "Unschedulable", 60, lambda: run_of(api, namespace)["status"])
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"compute": {"nodeSelector": None}}})
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["counted"]) == ("ComputeChanged", False)
    end_pod(api, running_pod(api, namespace, 2))
    wait_for_state(api, namespace, "Succeeded")


def test_a_spec_that_is_changed_in_mid_run_is_refused_and_the_run_goes_on(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace))
    pod_name = running_pod(api, namespace)["metadata"]["name"]
    wait_for_state(api, namespace, "Running")
    with pytest.raises(ApiError) as refused:
        api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"stages": {"grpo": {"maxSteps": 99}}}})
    assert "spec.stages cannot change once the run has started" in refusal(refused.value)
    end_pod(api, pod_of(api, namespace))
    assert wait_for_state(api, namespace, "Succeeded")["status"]["attempts"][0]["pod"] == pod_name


@pytest.fixture
def newer_definition(api: Api) -> Iterator[None]:
    """A definition with a field that this operator does not know."""
    newer: dict[str, Any] = crd()
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["futureField"] = {"type": "string"}
    api.apply(newer)
    yield
    api.apply(crd())


def taken(api: Api, content: Raw) -> Raw:
    """What the API server would keep of the spec; nothing where it refuses it."""
    try:
        return dict(api.try_out(content)["spec"])
    except ApiError:
        return {}


@pytest.mark.usefixtures("newer_definition")
def test_a_field_of_a_newer_definition_is_named_and_nothing_is_started(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    content = quickstart(namespace, {RUNS_FOR: "0s"})
    content["spec"]["futureField"] = "x"

    wait_for(lambda: "futureField" in taken(api, content), 30, "the API server does not know the newer definition")
    api.create(content)
    wait_for(lambda: reason_of(api, namespace, "Accepted") == "UnknownField", 30, lambda: run_of(api, namespace).get("status"))
    assert "futureField" in (condition(run_of(api, namespace), "Accepted") or {})["message"]
    assert api.list("Job", namespace) == []
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"futureField": None}})
    wait_for_state(api, namespace, "Succeeded")


def test_a_namespace_that_is_deleted_in_mid_run_leaves_the_others_alone(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    doomed = f"{namespace}-doomed"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": doomed}})
    wait_for(lambda: api.find("ServiceAccount", "default", doomed), 30, "the namespace has no ServiceAccount")
    for each in (namespace, doomed):
        grant(api, each)
    operator = OperatorProcess(cluster.kubeconfig_of(USER), tmp_path, f"--namespace={namespace}", f"--namespace={doomed}")
    operator.start()
    operator.wait_until_serving()
    try:
        for each in (namespace, doomed):
            api.create(quickstart(each))
            running_pod(api, each)
        api.delete("Namespace", doomed)
        wait_for(lambda: not api.list("DeepICDRun", doomed), 60, "the doomed namespace's run is still there")
        end_pod(api, running_pod(api, namespace))
        wait_for(lambda: state_of(api, namespace) == "Succeeded", 60, lambda: run_of(api, namespace)["status"])
        assert operator.running
        assert "Traceback" not in operator.log.read_text()
    finally:
        operator.kill()
