"""A run on several nodes and a real KubeRay: its CRDs accept the RayJob, and its operator creates pods from it.

The pods are kwok's, so that no Ray answers in them; `make test-long` trains in real ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deepicd.spec.resource_names import RAY_NODE_LABEL
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.builders import is_true
from tests.cluster.control_plane import ControlPlane
from tests.cluster.daemon import Daemon, free_ports
from tests.cluster.operated import ended, leftovers, quickstart, run_of, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.kuberay.built import built

KUBERAY = built()
MADE_BY_KUBERAY = ("RayJob", "RayCluster", "Service")

pytestmark = [
    pytest.mark.usefixtures("run_definition"),
    pytest.mark.skipif(KUBERAY is None, reason="KubeRay is not built: make test-long does it"),
]


@pytest.fixture(scope="module")
def definitions(cluster: ControlPlane) -> Iterator[None]:
    """KubeRay's CRDs."""
    assert KUBERAY is not None
    names = []
    for path in sorted((KUBERAY / "config" / "crd" / "bases").glob("*.yaml")):
        name = cluster.api.apply(yaml.safe_load(path.read_text()))["metadata"]["name"]
        names.append(name)
    for name in names:
        wait_for(lambda name=name: is_true(cluster.api.get("CustomResourceDefinition", name), "Established"), 30, name)  # type: ignore[misc]
    wait_for(lambda: cluster.api.list("RayJob") == [], 30, "RayJobs cannot be listed")
    yield
    for name in names:
        cluster.api.delete("CustomResourceDefinition", name)
    for name in names:
        wait_for(lambda name=name: cluster.api.find("CustomResourceDefinition", name) is None, 30, name)  # type: ignore[misc]


@pytest.fixture
def kuberay(definitions: None, cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Daemon]:
    """KubeRay's operator for the test's namespace, with exactly the rights of its manifests."""
    assert KUBERAY is not None
    user, rights = "kuberay-operator", yaml.safe_load((KUBERAY / "config" / "rbac" / "role.yaml").read_text())
    cluster.api.apply(rights)
    group = "rbac.authorization.k8s.io"
    cluster.api.apply({
        "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": user},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": rights["metadata"]["name"]},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
    })  # fmt: skip
    metrics, probes = free_ports(2)
    command: list[str | Path] = [
        KUBERAY / "ray-operator", f"--watch-namespace={namespace}", "--enable-leader-election=false",
        f"--metrics-addr=127.0.0.1:{metrics}", f"--health-probe-bind-address=127.0.0.1:{probes}",
    ]  # fmt: skip
    made = Daemon("kuberay", command, tmp_path, {"KUBECONFIG": str(cluster.kubeconfig_of(user))})
    made.start()
    yield made
    made.kill()


def start(api: Api, namespace: str, storage_class: str) -> None:
    api.create(quickstart(namespace, compute__nodes=2, compute__scratch={"size": "1Gi", "storageClass": storage_class}))


def made_by_kuberay(api: Api, namespace: str) -> list[Raw]:
    return [each for kind in MADE_BY_KUBERAY for each in api.list(kind, namespace)]


def test_a_restricted_namespace_admits_kuberays_pods_and_a_deleted_run_leaves_nothing_of_kuberays(
    api: Api, namespace: str, operator: OperatorProcess, kuberay: Daemon, volume: str
) -> None:
    start(api, namespace, volume)
    wait_for_state(api, namespace, "Running")
    pods = api.list("Pod", namespace, **{"deepicd.io/run": "quickstart"})
    assert sorted(pod["metadata"]["labels"][RAY_NODE_LABEL] for pod in pods) == ["head", "worker"]
    head = next(pod for pod in pods if pod["metadata"]["labels"][RAY_NODE_LABEL] == "head")
    assert run_of(api, namespace)["status"]["attempts"][0]["pod"] == head["metadata"]["name"]
    assert {each["kind"] for each in made_by_kuberay(api, namespace)} == set(MADE_BY_KUBERAY)
    api.delete("DeepICDRun", "quickstart", namespace)
    # The RayJob has KubeRay's finalizer, which only KubeRay removes.
    wait_for(lambda: not made_by_kuberay(api, namespace) and not leftovers(api, namespace), 60, kuberay.tail)
    assert leftovers(api, namespace) == []


def test_a_lost_head_ends_the_attempt_before_kuberay_sees_it_and_another_attempt_follows(
    api: Api, namespace: str, operator: OperatorProcess, kuberay: Daemon, volume: str
) -> None:
    start(api, namespace, volume)
    wait_for_state(api, namespace, "Running")
    head = run_of(api, namespace)["status"]["attempts"][0]["pod"]
    api.delete("Pod", head, namespace)
    assert ended(api, namespace, seconds=120)["reason"] == "PodDeleted"
    wait_for(lambda: api.find("RayJob", "quickstart-a2", namespace), 60, kuberay.tail)
    wait_for(lambda: api.find("RayJob", "quickstart-a1", namespace) is None, 60, kuberay.tail)
    # While KubeRay still runs, to remove its finalizer.
    api.delete("DeepICDRun", "quickstart", namespace)
    wait_for(lambda: not made_by_kuberay(api, namespace), 60, kuberay.tail)
