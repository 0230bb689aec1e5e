from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from deepicd_operator.permissions import CLUSTER, NAMESPACED
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.builders import condition, is_true
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.nodes import kill_node
from tests.cluster.operated import (
    CHILDREN,
    USER,
    leftovers,
    pod_of,
    quickstart,
    report,
    run_of,
    running_pod,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import EXIT_CODE, RUNS_FOR, STARTS, end_pod, keep_waiting

pytestmark = pytest.mark.usefixtures("run_definition")


def test_a_run_becomes_a_job_that_it_owns_and_succeeds(api: Api, namespace: str, operator: OperatorProcess) -> None:
    made = api.create(quickstart(namespace, {RUNS_FOR: "2s"}))
    pod = pod_of(api, namespace)
    job = api.get("Job", "quickstart-a1", namespace)
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"]) == ("DeepICDRun", "quickstart", made["metadata"]["uid"])
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    done = wait_for_state(api, namespace, "Succeeded")
    assert is_true(done, "Succeeded")
    assert not is_true(done, "Failed")
    assert done["status"]["observedGeneration"] == done["metadata"]["generation"]
    (attempt,) = done["status"]["attempts"]
    assert (attempt["number"], attempt["reason"], attempt["node"]) == (1, "Completed", pod["spec"]["nodeName"])


def test_a_runs_pods_satisfy_the_restricted_standard_with_storage_too(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    store = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}, storage=store))
    pod = pod_of(api, namespace)
    assert [each["name"] for each in pod["spec"]["initContainers"]] == ["sync"]
    wait_for_state(api, namespace, "Succeeded")


def test_a_report_becomes_status_and_columns(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    now = api.get("Job", "quickstart-a1", namespace)["status"]["startTime"]
    checkpoint = {"stage": "grpo", "step": 10, "uri": "s3://models/x", "sha256": "a" * 64, "time": now}
    report(api, namespace, stage="grpo", step=12, steps=15, reward=0.414, kl=0.0123, etaSeconds=33000, time=now,
           checkpoint=checkpoint)  # fmt: skip

    def shown() -> Raw | None:
        status = run_of(api, namespace)["status"]
        return status if status.get("step") == 12 else None

    status = wait_for(shown, 20, lambda: run_of(api, namespace)["status"])
    columns = {name: status["columns"][name] for name in ("step", "reward", "kl", "eta", "checkpoint")}
    assert columns == {"step": "12/15", "reward": "0.41", "kl": "0.012", "eta": "9h", "checkpoint": "grpo/10"}
    assert status["lastVerifiedCheckpoint"]["attempt"] == 1
    assert is_true(run_of(api, namespace), "CheckpointDurable")


def test_a_deleted_run_leaves_nothing(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    wait_for(lambda: len(leftovers(api, namespace)) == len(CHILDREN), 30, lambda: leftovers(api, namespace))
    assert "finalizers" not in run_of(api, namespace)["metadata"]
    api.delete("DeepICDRun", "quickstart", namespace)
    wait_for(lambda: not leftovers(api, namespace), 60, lambda: leftovers(api, namespace))
    assert api.find("DeepICDRun", "quickstart", namespace) is None


def test_exit_code_64_fails_the_run_at_once(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "0s", EXIT_CODE: "64"}))
    failed = wait_for_state(api, namespace, "Failed")
    assert condition(failed, "Failed") is not None
    (attempt,) = failed["status"]["attempts"]
    assert (attempt["reason"], attempt["exitCode"]) == ("BadInput", 64)


def test_a_crash_is_retried_and_counted(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__maxAttempts=2))
    for number, reason, message in ((1, "OOMKilled", ""), (2, "Error", "")):
        end_pod(api, running_pod(api, namespace, number), 137, reason=reason, termination_log=message)
    failed = wait_for_state(api, namespace, "Failed")
    reasons = [(each["number"], each["reason"], each["exitCode"]) for each in failed["status"]["attempts"]]
    assert reasons == [(1, "OutOfMemory", 137), (2, "Crashed", 137)]
    assert failed["status"]["reason"] == "AttemptsExhausted"


def test_an_eviction_is_retried_and_not_counted(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, recovery__maxAttempts=1))
    api.evict(running_pod(api, namespace))
    running_pod(api, namespace, 2)
    first, _ = run_of(api, namespace)["status"]["attempts"]
    assert (first["reason"], first["counted"]) == ("Evicted", False)


def test_an_image_that_cannot_be_pulled_is_reported_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {STARTS: "no"}))
    keep_waiting(api, pod_of(api, namespace), "ImagePullBackOff", "pull of example.invalid/x failed", "trainer")

    def reported() -> Raw | None:
        found = condition(run_of(api, namespace), "Running")
        return found if found and found["reason"] == "ImagePullFailed" else None

    condition_found = wait_for(reported, 30, lambda: run_of(api, namespace)["status"])
    assert "example.invalid/x" in condition_found["message"]
    assert "compute.image" in condition_found["message"]


def test_a_run_that_fits_on_no_node_waits_and_reports_it(
    api: Api, namespace: str, operator: OperatorProcess, make_node: Callable[..., Raw]
) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}, compute__nodeSelector={"pool": namespace}))

    def reported() -> Raw | None:
        found = condition(run_of(api, namespace), "Scheduled")
        return found if found and found["reason"] == "Unschedulable" else None

    assert "compute.gpus" in wait_for(reported, 30, lambda: run_of(api, namespace).get("status"))["message"]
    make_node(gpus=4)
    wait_for_state(api, namespace, "Succeeded")


def test_a_quota_is_reported_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    quota: Raw = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus", "namespace": namespace},
                  "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}  # fmt: skip
    api.create(quota)
    wait_for(lambda: api.get("ResourceQuota", "gpus", namespace).get("status", {}).get("hard"))
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))

    def reported() -> Raw | None:
        found = condition(run_of(api, namespace), "Scheduled")
        return found if found and found["reason"] == "QuotaExceeded" else None

    assert "ResourceQuota" in wait_for(reported, 60, lambda: run_of(api, namespace).get("status"))["message"]
    api.delete("ResourceQuota", "gpus", namespace)
    wait_for_state(api, namespace, "Succeeded", 120)


def test_suspend_stops_the_pod_and_false_resumes_the_run(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"suspend": True}})
    wait_for_state(api, namespace, "Suspended")
    wait_for(lambda: not api.list("Pod", namespace), 30, "the pod is still there")
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"suspend": False}})
    end_pod(api, running_pod(api, namespace, 2))
    done = wait_for_state(api, namespace, "Succeeded")
    assert [each["counted"] for each in done["status"]["attempts"]] == [False, False]


def test_every_transition_has_one_event(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded")
    reasons = [each["reason"] for each in api.events(done)]
    assert sorted(reasons) == sorted(set(reasons))
    assert {"AttemptStarted", "Completed"} <= set(reasons)


def test_the_operator_makes_no_request_that_its_rules_lack(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy
) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    wait_for_state(api, namespace, "Succeeded")
    allowed = {
        (group, resource, verb)
        for rule in (*NAMESPACED, *CLUSTER)
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    asked = {call.permission for call in proxy.calls if call.user == USER and call.resource}
    assert asked <= allowed
    assert [call for call in proxy.calls if call.status == 403] == []


def test_a_lost_node_is_a_free_retry_elsewhere(
    api: Api, namespace: str, operator: OperatorProcess, make_node: Callable[..., Raw]
) -> None:
    make_node("a")
    api.create(quickstart(namespace, recovery__maxAttempts=1, recovery__gracePeriod="5s",
                          compute__nodeSelector={"pool": namespace}))  # fmt: skip
    lost = running_pod(api, namespace)["spec"]["nodeName"]
    make_node("b")
    kill_node(api, lost)
    wait_for(lambda: api.pods_of("quickstart-a2", namespace), 90, lambda: run_of(api, namespace)["status"])
    assert running_pod(api, namespace, 2)["spec"]["nodeName"] != lost
    first, _ = run_of(api, namespace)["status"]["attempts"]
    assert (first["reason"], first["counted"]) == ("NodeLost", False)


def test_sigterm_ends_the_operator_cleanly(operator: OperatorProcess) -> None:
    assert operator.get("/healthz")[0] == 200
    assert "deepicd_" in operator.get("/metrics")[1]
    assert operator.stop() == 0


def test_every_line_of_the_log_is_json(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))
    wait_for_state(api, namespace, "Succeeded")
    lines = [json.loads(line) for line in operator.log.read_text().splitlines()]
    about = [line for line in lines if line.get("run") == "quickstart"]
    assert {(line["namespace"], line["attempt"]) for line in about if "attempt" in line} >= {(namespace, 1)}
    assert not [line for line in lines if line.get("level") in {"error", "critical"}]
