"""A run on several nodes: the objects that the operator creates, and its reactions to a simulated KubeRay."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from deepicd.spec.resource_names import RAY_CLUSTER_LABEL, RAY_NODE_LABEL
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.operated import attempts, ended, quickstart, run_of, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import end_pod
from tests.cluster.ray_definition import rayjobs_known

pytestmark = pytest.mark.usefixtures("run_definition", "rayjob_definition")

ATTEMPT = "quickstart-a1"
RAY_CLUSTER = f"{ATTEMPT}-x7k2p"
FAILED_BY_USER = {
    "jobDeploymentStatus": "Failed",
    "jobStatus": "FAILED",
    "message": "Job entrypoint command failed with exit code 64, last available logs (truncated to 20,000 chars):\nx",
}


@pytest.fixture(scope="module")
def rayjob_definition(cluster: ControlPlane) -> Iterator[None]:
    with rayjobs_known(cluster.api):
        yield


def on_two_nodes(api: Api, namespace: str, storage_class: str = "shared", **changes: Any) -> Raw:
    """Apply a run of two nodes and return its RayJob."""
    scratch = {"size": "1Gi", "storageClass": storage_class}
    api.create(quickstart(namespace, compute__nodes=2, compute__scratch=scratch, **changes))
    wait_for(lambda: api.find("RayJob", ATTEMPT, namespace), 30, lambda: run_of(api, namespace).get("status"))
    return api.patch("RayJob", ATTEMPT, namespace, {"status": {"rayClusterName": RAY_CLUSTER}}, status=True)


def node_pod(job: Raw, namespace: str, kind: str) -> Raw:
    """The pod that KubeRay would create for the head or a worker."""
    cluster = job["spec"]["rayClusterSpec"]
    template = (cluster["headGroupSpec"] if kind == "head" else cluster["workerGroupSpecs"][0])["template"]
    labels = {**template["metadata"]["labels"], RAY_NODE_LABEL: kind, RAY_CLUSTER_LABEL: RAY_CLUSTER}
    metadata = {**template["metadata"], "name": f"{ATTEMPT}-{kind}", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}


def running_pods(api: Api, namespace: str, volume: str) -> dict[str, Raw]:
    """The pods of a training run of two nodes, by their role."""
    job = on_two_nodes(api, namespace, volume)
    pods = {kind: api.create(node_pod(job, namespace, kind)) for kind in ("head", "worker")}
    wait_for_state(api, namespace, "Running")
    return pods


def test_a_run_becomes_a_ray_job_with_a_claim_that_its_nodes_share(api: Api, namespace: str, operator: OperatorProcess) -> None:
    on_two_nodes(api, namespace)
    claim = wait_for(lambda: api.find("PersistentVolumeClaim", ATTEMPT, namespace), 30, "there is no claim")
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    (owner,) = claim["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("DeepICDRun", run_of(api, namespace)["metadata"]["uid"])


def test_a_pod_of_another_namespace_is_not_kuberay_by_its_label(api: Api, namespace: str, operator: OperatorProcess) -> None:
    on_two_nodes(api, namespace)
    own, kuberay = api.get("NetworkPolicy", "quickstart-trainer", namespace)["spec"]["ingress"]
    assert [list(peer) for peer in own["from"]] == [["podSelector"]]
    assert [peer["namespaceSelector"] for peer in kuberay["from"]] == [
        {"matchLabels": {"kubernetes.io/metadata.name": "kuberay-system"}}
    ]


@pytest.mark.parametrize("kind", ["head", "worker"])
def test_the_pods_of_all_nodes_satisfy_the_restricted_standard(
    api: Api, namespace: str, operator: OperatorProcess, kind: str
) -> None:
    pod = node_pod(on_two_nodes(api, namespace), namespace, kind)
    assert api.try_out(pod)["metadata"]["name"] == f"{ATTEMPT}-{kind}"


def test_the_claim_is_deleted_when_the_attempt_has_ended(api: Api, namespace: str, operator: OperatorProcess) -> None:
    on_two_nodes(api, namespace, storage={"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}})
    wait_for(lambda: api.find("PersistentVolumeClaim", ATTEMPT, namespace), 30, "there is no claim")
    api.patch("RayJob", ATTEMPT, namespace, {"status": {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}},
              status=True)  # fmt: skip
    done = wait_for_state(api, namespace, "Succeeded")
    assert [attempt["reason"] for attempt in done["status"]["attempts"]] == ["Completed"]

    def left() -> list[str]:
        return [kind for kind in ("RayJob", "PersistentVolumeClaim") if api.find(kind, ATTEMPT, namespace) is not None]

    # No pod uses the claim, so that nothing protects it. Kubernetes looks for new kinds of owners every 30 s.
    wait_for(lambda: not left(), 90, left)
    assert left() == []


def test_a_user_error_is_recognised_by_the_commands_exit_code(api: Api, namespace: str, operator: OperatorProcess) -> None:
    on_two_nodes(api, namespace)
    api.patch("RayJob", ATTEMPT, namespace, {"status": FAILED_BY_USER}, status=True)
    failed = wait_for_state(api, namespace, "Failed")
    (attempt,) = failed["status"]["attempts"]
    assert (attempt["reason"], attempt["exitCode"]) == ("BadInput", 64)


def test_a_lost_head_is_followed_by_an_attempt_although_kuberay_reports_nothing(
    api: Api, namespace: str, operator: OperatorProcess, volume: str
) -> None:
    head = running_pods(api, namespace, volume)["head"]
    api.delete("Pod", head["metadata"]["name"], namespace)
    assert ended(api, namespace)["reason"] == "PodDeleted"
    wait_for(lambda: api.find("RayJob", "quickstart-a2", namespace), 30, lambda: attempts(api, namespace))
    assert api.find("RayJob", ATTEMPT, namespace) is None


def test_a_head_that_ends_with_a_finished_ray_job_is_not_lost_if_only_its_pod_was_seen(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, volume: str
) -> None:
    head = running_pods(api, namespace, volume)["head"]
    assert proxy.silence_watches("rayjobs", new_ones=True) == 1
    api.patch("RayJob", ATTEMPT, namespace, {"status": FAILED_BY_USER}, status=True)
    end_pod(api, head, 143)
    failed = wait_for_state(api, namespace, "Failed")
    assert [attempt["reason"] for attempt in failed["status"]["attempts"]] == ["BadInput"]
