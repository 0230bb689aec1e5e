from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepicd_operator.permissions import CLUSTER, NAMESPACED
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.api_call import Call
from tests.cluster.builders import condition, is_true
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy
from tests.cluster.nodes import kill_node
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import EXIT_CODE, RUNS_FOR, STARTS, end_pod, keep_waiting
from tests.cluster.runs import sample

pytestmark = pytest.mark.usefixtures("run_definition")
USER = "deepicd-operator"
RUNS_AT_ONCE = 200
RBAC = "rbac.authorization.k8s.io"
CHILDREN = ("Job", "Pod", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy")


def grant(api: Api, namespace: str) -> None:
    """What the operator says that it needs, and nothing else."""
    metadata = {"name": USER, "namespace": namespace}
    subject = {"apiGroup": RBAC, "kind": "User", "name": USER}
    reference = {"apiGroup": RBAC, "kind": "Role", "name": USER}
    api.apply({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": list(NAMESPACED)})
    api.apply({
        "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": [subject],
    })  # fmt: skip
    api.apply({"apiVersion": f"{RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": USER}, "rules": list(CLUSTER)})
    api.apply({
        "apiVersion": f"{RBAC}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": USER},
        "roleRef": {**reference, "kind": "ClusterRole"}, "subjects": [subject],
    })  # fmt: skip


@pytest.fixture
def operator(cluster: ControlPlane, api: Api, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator of the test's namespace, with exactly its rights, behind the proxy."""
    grant(api, namespace)
    made = OperatorProcess(cluster.kubeconfig_of(USER, server=proxy.server), tmp_path, f"--namespace={namespace}", "--resync=5")
    made.start()
    made.wait_until_serving()
    yield made
    made.kill()


def quickstart(namespace: str, annotations: dict[str, str] | None = None, **changes: Any) -> Raw:
    """A run of one GPU and quick retries, whose pods carry the annotations."""
    patch = {"metadata": {"annotations": annotations or {}}}
    return sample("quickstart", namespace, compute__podTemplatePatch=patch, recovery__backoff="1s", **changes)


def run_of(api: Api, namespace: str) -> Raw:
    return api.get("DeepICDRun", "quickstart", namespace)


def state_of(api: Api, namespace: str) -> str:
    return str((run_of(api, namespace).get("status") or {}).get("state", ""))


def wait_for_state(api: Api, namespace: str, state: str, seconds: float = 60) -> Raw:
    wait_for(lambda: state_of(api, namespace) == state, seconds, lambda: run_of(api, namespace).get("status"))
    return run_of(api, namespace)


def pod_of(api: Api, namespace: str, attempt: int = 1) -> Raw:
    def look() -> Raw | None:
        pods = api.pods_of(f"quickstart-a{attempt}", namespace)
        return pods[0] if pods and pods[0]["spec"].get("nodeName") else None

    return wait_for(look, 60, lambda: run_of(api, namespace).get("status"))


def running_pod(api: Api, namespace: str, attempt: int = 1) -> Raw:
    wait_for(lambda: pod_of(api, namespace, attempt)["status"]["phase"] == "Running", 60, "the pod does not run")
    return pod_of(api, namespace, attempt)


def report(api: Api, namespace: str, attempt: int = 1, checkpoint: Raw | None = None, **fields: Any) -> None:
    """Write progress, and the newest checkpoint, as the attempt's pod does."""
    data = {"progress.json": json.dumps(fields)} | ({"checkpoint.json": json.dumps(checkpoint)} if checkpoint else {})
    api.patch("ConfigMap", f"quickstart-a{attempt}-progress", namespace, {"data": data})


def leftovers(api: Api, namespace: str) -> list[str]:
    """Everything in the namespace that a run owns."""
    return [
        f"{kind} {each['metadata']['name']}"
        for kind in CHILDREN
        for each in api.list(kind, namespace)
        if (each["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "deepicd-operator"
    ]


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
    assert len(leftovers(api, namespace)) == len(CHILDREN)
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


def test_an_image_that_cannot_be_pulled_is_told_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {STARTS: "no"}))
    keep_waiting(api, pod_of(api, namespace), "ImagePullBackOff", "pull of example.invalid/x failed", "trainer")

    def told() -> Raw | None:
        found = condition(run_of(api, namespace), "Running")
        return found if found and found["reason"] == "ImagePullFailed" else None

    told_as = wait_for(told, 30, lambda: run_of(api, namespace)["status"])
    assert "example.invalid/x" in told_as["message"]
    assert "compute.image" in told_as["message"]


def test_a_run_that_fits_nowhere_waits_and_says_so(
    api: Api, namespace: str, operator: OperatorProcess, make_node: Callable[..., Raw]
) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}, compute__nodeSelector={"pool": namespace}))

    def told() -> Raw | None:
        found = condition(run_of(api, namespace), "Scheduled")
        return found if found and found["reason"] == "Unschedulable" else None

    wait_for(told, 30, lambda: run_of(api, namespace).get("status"))
    make_node(gpus=4)
    wait_for_state(api, namespace, "Succeeded")


def test_a_quota_is_told_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    quota: Raw = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus", "namespace": namespace},
                  "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}  # fmt: skip
    api.create(quota)
    wait_for(lambda: api.get("ResourceQuota", "gpus", namespace).get("status", {}).get("hard"))
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))

    def told() -> Raw | None:
        found = condition(run_of(api, namespace), "Scheduled")
        return found if found and found["reason"] == "QuotaExceeded" else None

    wait_for(told, 60, lambda: run_of(api, namespace).get("status"))
    api.delete("ResourceQuota", "gpus", namespace)
    wait_for_state(api, namespace, "Succeeded", 120)


def test_suspend_stops_the_pod_and_false_goes_on(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    running_pod(api, namespace)
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"suspend": True}})
    wait_for_state(api, namespace, "Suspended")
    wait_for(lambda: not api.list("Pod", namespace), 30, "the pod is still there")
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"suspend": False}})
    end_pod(api, running_pod(api, namespace, 2))
    done = wait_for_state(api, namespace, "Succeeded")
    assert [each["counted"] for each in done["status"]["attempts"]] == [False, False]


def test_every_transition_is_told_once(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded")
    told = [each["reason"] for each in api.events(done)]
    assert sorted(told) == sorted(set(told))
    assert {"AttemptStarted", "Completed"} <= set(told)


def test_the_operator_asks_for_nothing_that_its_rules_lack(
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


def is_own_write(call: Call) -> bool:
    return call.is_write and call.user == USER


@pytest.mark.parametrize("lose", ["request", "answer"])
@pytest.mark.parametrize("before", [0, 4, 8])
def test_a_lost_write_changes_nothing_about_the_end(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, lose: str, before: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, lose=lose, skip=before))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded", 90)
    assert fault.times == 0
    assert len(done["status"]["attempts"]) == 1
    assert len(leftovers(api, namespace)) == len(CHILDREN)


@pytest.mark.parametrize("status", [409, 429, 500])
def test_errors_of_the_api_server_are_waited_out(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, status: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, status=status, retry_after=1, times=3))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded", 90)
    assert fault.times == 0
    assert len(done["status"]["attempts"]) == 1


@pytest.mark.parametrize("writes", range(1, 15))
def test_an_operator_killed_after_a_write_goes_on_where_it_was(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, writes: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, then=operator.kill, lose="answer", skip=writes - 1))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    wait_for(lambda: not operator.running or state_of(api, namespace) == "Succeeded", 60, "nothing happens")
    if not operator.running:
        operator.start()
    done = wait_for_state(api, namespace, "Succeeded")
    # A life of fewer writes is told, so that this does not count as tried.
    if fault.times:
        pytest.skip(f"a run's life has {len(proxy.writes(USER))} writes")
    assert [each["reason"] for each in done["status"]["attempts"]] == ["Completed"]
    assert len(leftovers(api, namespace)) == len(CHILDREN)
    told = [each["reason"] for each in api.events(done)]
    assert sorted(told) == sorted(set(told))


def test_two_operators_at_once_make_one_job_for_each_run(
    cluster: ControlPlane,
    api: Api,
    namespace: str,
    operator: OperatorProcess,
    proxy: FaultProxy,
    make_node: Callable[..., Raw],
    tmp_path: Path,
) -> None:
    make_node(gpus=1000)
    second = OperatorProcess(
        cluster.kubeconfig_of(USER, server=proxy.server), tmp_path, f"--namespace={namespace}", name="second"
    )
    second.start()
    second.wait_until_serving()
    names = [f"run-{number}" for number in range(RUNS_AT_ONCE)]
    for name in names:
        content = quickstart(namespace, {RUNS_FOR: "1s"}, compute__nodeSelector={"pool": namespace})
        api.create({**content, "metadata": {**content["metadata"], "name": name}})

    def unfinished() -> list[str]:
        runs = api.list("DeepICDRun", namespace)
        return [run["metadata"]["name"] for run in runs if (run.get("status") or {}).get("state") != "Succeeded"]

    try:
        wait_for(lambda: not unfinished(), 240, unfinished)
    finally:
        second.kill()
    assert [call.name for call in proxy.calls if call.verb == "delete"] == []
    assert sorted(job["metadata"]["name"] for job in api.list("Job", namespace)) == sorted(f"{name}-a1" for name in names)
    assert {len(run["status"]["attempts"]) for run in api.list("DeepICDRun", namespace)} == {1}


def test_an_operator_that_hears_late_of_an_ended_job_does_not_delete_it(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, tmp_path: Path
) -> None:
    # `operator` is the one whose watch of Jobs goes silent; the other one ends the run.
    other = OperatorProcess(cluster.kubeconfig_of(USER), tmp_path, f"--namespace={namespace}", name="other")
    other.start()
    other.wait_until_serving()
    try:
        api.create(quickstart(namespace))
        pod = running_pod(api, namespace)
        wait_for_state(api, namespace, "Running")
        assert proxy.silence_watches("jobs") == 1
        job = api.get("Job", "quickstart-a1", namespace)
        end_pod(api, pod)
        seen = len(proxy.calls)
        wait_for_state(api, namespace, "Succeeded")
        # Its next full list shows that it has heard of the end by then.
        wait_for(lambda: any(call.verb == "list" for call in proxy.calls[seen:]), 30, "the late operator does not list")
    finally:
        other.kill()
    # It may try, in the version that it knows; it must not succeed.
    kept = api.get("Job", "quickstart-a1", namespace)["metadata"]
    assert (kept["uid"], kept.get("deletionTimestamp")) == (job["metadata"]["uid"], None)


def test_an_api_server_that_is_restarted_in_mid_run_is_waited_for(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "5s"}))
    running_pod(api, namespace)
    cluster.restart_api_server()
    done = wait_for_state(api, namespace, "Succeeded", 120)
    assert len(done["status"]["attempts"]) == 1


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


def test_watches_that_break_or_go_silent_are_made_good(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy
) -> None:
    wait_for(lambda: proxy.watches("jobs") > 0 and proxy.watches("deepicdruns") > 0, 30, "nothing is watched")
    assert proxy.silence_watches("jobs") == 1
    assert proxy.cut_watches("deepicdruns") == 1
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    wait_for_state(api, namespace, "Succeeded", 90)


def test_a_killed_operator_goes_on_where_it_was(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    pod = running_pod(api, namespace)
    operator.kill()
    end_pod(api, pod)
    operator.start()
    done = wait_for_state(api, namespace, "Succeeded")
    assert len(done["status"]["attempts"]) == 1


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
