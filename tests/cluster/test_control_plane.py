from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cluster import binaries as binaries_module
from tests.cluster.api import Api, ApiError, Raw, wait_for
from tests.cluster.binaries import BinariesMissingError, find_binaries
from tests.cluster.builders import condition, is_true, job, pod
from tests.cluster.control_plane import ControlPlane
from tests.cluster.nodes import is_ready, kill_node, revive_node
from tests.cluster.pods import EXIT_CODE, RUNS_FOR, STARTS, TAKES_TO_STOP, end_pod, keep_waiting


def running(api: Api, name: str, namespace: str) -> Raw:
    def look() -> Raw | None:
        found = api.get("Pod", name, namespace)
        return found if found["status"]["phase"] == "Running" else None

    return wait_for(look, 30, f"pod {name} does not run")


def placed_pod(api: Api, namespace: str) -> Raw | None:
    found = api.get("Pod", "pod", namespace)
    return found if found["spec"].get("nodeName") else None


def pod_of_job(api: Api, name: str, namespace: str) -> Raw:
    pods = wait_for(lambda: api.pods_of(name, namespace), 30, f"Job {name} has no pod")
    return running(api, pods[0]["metadata"]["name"], namespace)


def test_a_job_with_a_native_sidecar_runs_to_completion(api: Api, namespace: str) -> None:
    api.create(job(namespace, annotations={RUNS_FOR: "1s"}, gpus=4, sidecar=True))
    wait_for(lambda: is_true(api.get("Job", "job", namespace), "Complete"), 30, "the Job does not complete")
    assert api.get("Job", "job", namespace)["status"]["succeeded"] == 1
    (ended,) = api.pods_of("job", namespace)
    assert ended["status"]["phase"] == "Succeeded"
    assert ended["status"]["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0


def test_an_annotation_decides_the_exit_code(api: Api, namespace: str) -> None:
    policy = [{"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [64]}}]
    content = job(namespace, annotations={RUNS_FOR: "0s", EXIT_CODE: "64"})
    content["spec"] |= {"podFailurePolicy": {"rules": policy}, "backoffLimit": 3}
    api.create(content)
    failed = wait_for(lambda: condition(api.get("Job", "job", namespace), "Failed"))
    assert failed["reason"] == "PodFailurePolicy"
    assert "exit code 64" in failed["message"]


def test_a_pod_without_annotation_runs_until_a_test_ends_it(api: Api, namespace: str) -> None:
    api.create(job(namespace, sidecar=True))
    found = pod_of_job(api, "job", namespace)
    assert found["status"]["initContainerStatuses"][0]["state"].keys() == {"running"}
    end_pod(api, found, 137, reason="OOMKilled", termination_log="the last words", sidecar_exit_code=75)
    wait_for(lambda: condition(api.get("Job", "job", namespace), "Failed"))
    (ended,) = api.pods_of("job", namespace)
    main, sidecar = ended["status"]["containerStatuses"][0], ended["status"]["initContainerStatuses"][0]
    assert (main["state"]["terminated"]["exitCode"], main["state"]["terminated"]["reason"]) == (137, "OOMKilled")
    assert main["state"]["terminated"]["message"] == "the last words"
    assert sidecar["state"]["terminated"]["exitCode"] == 75


def test_a_pod_can_be_kept_from_starting(api: Api, namespace: str) -> None:
    api.create(pod(namespace, annotations={STARTS: "no"}))
    placed = wait_for(lambda: placed_pod(api, namespace))
    kept = keep_waiting(api, placed, "ErrImagePull", "no such image")
    assert kept["status"]["phase"] == "Pending"
    assert kept["status"]["containerStatuses"][0]["state"]["waiting"] == {"reason": "ErrImagePull", "message": "no such image"}


def test_a_deleted_pod_reports_a_terminal_phase_before_it_is_gone(api: Api, namespace: str) -> None:
    api.create(job(namespace))
    found = pod_of_job(api, "job", namespace)
    api.delete("Pod", found["metadata"]["name"], namespace)
    failed = wait_for(lambda: condition(api.get("Job", "job", namespace), "Failed"))
    assert failed["reason"] == "BackoffLimitExceeded"
    wait_for(lambda: not api.pods_of("job", namespace), 30, "the pod is still there")


def test_a_pod_takes_the_configured_time_to_stop(api: Api, namespace: str) -> None:
    api.create(pod(namespace, annotations={TAKES_TO_STOP: "600s"}))
    running(api, "pod", namespace)
    api.delete("Pod", "pod", namespace)
    stopping = api.get("Pod", "pod", namespace)
    assert stopping["metadata"]["deletionTimestamp"]
    assert stopping["status"]["phase"] == "Running"
    api.delete("Pod", "pod", namespace, grace=0)
    wait_for(lambda: api.find("Pod", "pod", namespace) is None)


def test_a_pod_for_4_gpus_is_unschedulable_where_no_node_has_them(
    api: Api, namespace: str, make_node: Callable[..., Raw]
) -> None:
    make_node("plain", gpus=0)
    api.create(pod(namespace, gpus=4, nodeSelector={"pool": namespace}))

    def look() -> Raw | None:
        return condition(api.get("Pod", "pod", namespace), "PodScheduled")

    refused = wait_for(look)
    assert (refused["status"], refused["reason"]) == ("False", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in refused["message"]
    wait_for(lambda: [each for each in api.events(api.get("Pod", "pod", namespace)) if each["reason"] == "FailedScheduling"])


def test_a_quota_refuses_pods_and_the_job_says_so(api: Api, namespace: str) -> None:
    quota = {"hard": {"requests.nvidia.com/gpu": "2"}}
    api.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "gpus", "namespace": namespace}, "spec": quota}
    )
    wait_for(lambda: api.get("ResourceQuota", "gpus", namespace)["status"].get("hard"))
    content = api.create(job(namespace, gpus=4))
    refused = wait_for(lambda: [each for each in api.events(content) if each["reason"] == "FailedCreate"])
    assert "exceeded quota" in refused[0]["message"]
    with pytest.raises(ApiError, match="exceeded quota: gpus"):
        api.create(pod(namespace, gpus=4))


def test_the_restricted_standard_refuses_a_root_pod(api: Api, namespace: str) -> None:
    content = pod(namespace)
    del content["spec"]["containers"][0]["securityContext"]
    with pytest.raises(ApiError, match="violates PodSecurity"):
        api.create(content)


def test_a_limit_range_fills_in_requests(api: Api, namespace: str) -> None:
    limits = {"limits": [{"type": "Container", "defaultRequest": {"memory": "123Mi"}}]}
    api.create({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "l", "namespace": namespace}, "spec": limits})
    wait_for(lambda: api.find("LimitRange", "l", namespace))

    def requested() -> Any:
        made = api.create(pod(namespace, f"pod-{len(api.list('Pod', namespace))}"))
        return made["spec"]["containers"][0]["resources"].get("requests")

    # The admission plug-in learns of the range through its own watch.
    assert wait_for(requested) == {"memory": "123Mi"}


def test_an_eviction_marks_the_pod_as_disrupted(api: Api, namespace: str) -> None:
    content = job(namespace)
    content["spec"]["podFailurePolicy"] = {
        "rules": [{"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]}]
    }
    api.create(content)
    api.evict(pod_of_job(api, "job", namespace))
    failed = wait_for(lambda: condition(api.get("Job", "job", namespace), "Failed"))
    assert "DisruptionTarget" in failed["message"]


def test_a_killed_node_loses_its_pods_and_can_come_back(api: Api, namespace: str, make_node: Callable[..., Raw]) -> None:
    name = make_node()["metadata"]["name"]
    api.create(pod(namespace, gpus=4, nodeSelector={"pool": namespace}))
    running(api, "pod", namespace)
    kill_node(api, name)

    def disrupted() -> Raw | None:
        return condition(api.get("Pod", "pod", namespace), "DisruptionTarget")

    assert wait_for(disrupted, 60, "the pod stays undisturbed")["reason"] == "DeletionByTaintManager"
    assert not is_ready(api.get("Node", name))
    assert api.get("Pod", "pod", namespace)["metadata"]["deletionTimestamp"]
    revive_node(api, name)
    wait_for(lambda: is_ready(api.get("Node", name)), 60, "the node does not come back")
    wait_for(lambda: api.find("Pod", "pod", namespace) is None, 30, "the pod is still there")


def test_children_are_deleted_with_their_owner(api: Api, namespace: str) -> None:
    def config_map(name: str, *owners: Raw) -> Raw:
        named = [{name: each["metadata"][name] for name in ("name", "uid")} for each in owners]
        references = [{"apiVersion": "v1", "kind": "ConfigMap", **each} for each in named]
        metadata = {"name": name, "namespace": namespace, "ownerReferences": references}
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}

    owner = api.create(config_map("owner"))
    api.create(config_map("owned", owner))
    api.delete("ConfigMap", "owner", namespace)
    assert wait_for(lambda: api.find("ConfigMap", "owned", namespace) is None, 30, "it is still there")


def test_the_api_server_can_be_restarted(cluster: ControlPlane, api: Api, namespace: str) -> None:
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": namespace}})
    cluster.restart_api_server()
    assert api.get("ConfigMap", "kept", namespace)
    api.create(job(namespace, annotations={RUNS_FOR: "0s"}))
    wait_for(lambda: is_true(api.get("Job", "job", namespace), "Complete"), 60, "the Job does not complete")


def test_a_user_without_rights_is_refused(cluster: ControlPlane, namespace: str) -> None:
    stranger = Api(cluster.kubeconfig_of("stranger"))
    with pytest.raises(ApiError, match='User "stranger" cannot list resource "pods"'):
        stranger.list("Pod", namespace)
    stranger.close()


def test_the_control_plane_stays_below_1_gib(cluster: ControlPlane) -> None:
    assert cluster.memory < 2**30


def test_nothing_outlives_a_killed_test_run(cluster: ControlPlane, tmp_path: Path) -> None:
    script = "\n".join(
        (
            "import sys, time, pathlib",
            f"sys.path.insert(0, {str(Path(__file__).parent)!r})",
            "from daemon import Daemon",
            f"sleeper = Daemon('sleeper', ['sleep', '600'], pathlib.Path({str(tmp_path)!r}))",
            "sleeper.start()",
            "print(sleeper.pid, flush=True)",
            "time.sleep(600)",
        )
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    sleeper = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.wait()
    wait_for(lambda: not sleeper.is_running() or sleeper.status() == psutil.STATUS_ZOMBIE, 10, "it is still there")


def test_missing_binaries_are_reported_in_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(BinariesMissingError, match=rf"^no Kubernetes binaries in {tmp_path}.*: .*run 'make cluster-tools'$"):
        find_binaries()


def test_an_incomplete_kubebuilder_assets_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in binaries_module.NEEDED:
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert find_binaries()["kwok"] == tmp_path / "kwok"
    (tmp_path / "kwok").unlink()
    with pytest.raises(BinariesMissingError, match="lack kwok: "):
        find_binaries()
