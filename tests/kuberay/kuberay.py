"""KubeRay in a kind cluster, with its own manifests, and volumes for runs on several nodes."""

from __future__ import annotations

import shutil
from typing import Any

import yaml

from deepicd.spec.resource_names import ATTEMPT_LABEL, RUN_LABEL
from tests.kind.kind_cluster import KindCluster
from tests.kind.runs import COMPUTE, RESEARCH, TINY, Run, small_run
from tests.kuberay.built import build

NAMESPACE = "kuberay-system"
SHARED = "shared"
"""StorageClass of the volumes that several pods can write to."""
_IMAGE = "deepicd-test/kuberay"
_KINDS = (
    "deepicdruns,rayjobs,rayclusters,pods,services,jobs,persistentvolumeclaims,"
    "configmaps,serviceaccounts,roles,rolebindings,networkpolicies"
)
# Both nodes' pods and the control plane share two cores.
NODE = {**COMPUTE, "cpu": 0.3, "cpuLimit": 1, "memory": "8Gi", "nodes": 2, "scratch": {"size": "5Gi", "storageClass": SHARED}}


def install(kind: KindCluster) -> None:
    """Install KubeRay with its manifests, except for the image's name."""
    with kind.timed("KubeRay built, what the cache has left out"):
        built = build()
    image = f"{_IMAGE}:{built.name}"
    folder = kind.folder / "kuberay"
    shutil.copytree(built, folder)
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY ray-operator /manager\nUSER 65532:65532\n")
    kind.must("docker", "build", "-q", "-t", image, str(folder))
    with kind.saving(image) as archive:
        kind.load(archive)
    overlay = {
        "resources": ["config/default"],
        "namespace": NAMESPACE,
        "images": [{"name": "quay.io/kuberay/operator", "newName": _IMAGE, "newTag": built.name}],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    kind.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    # Too large for the annotation of a client-side apply.
    kind.kubectl("apply", "--server-side", "-k", str(folder))
    with kind.timed("KubeRay applied until it is ready"):
        kind.kubectl("rollout", "status", "deployment/kuberay-operator", "-n", NAMESPACE, "--timeout=180s")


def run_on_two_nodes(name: str, endpoint: str) -> dict[str, Any]:
    """A small run on two nodes of one rank each."""
    content = small_run(name, endpoint, compute=NODE)
    spec = content["spec"]
    spec["model"]["tiny"] = TINY
    spec["stages"]["grpo"] |= {"maxSteps": 2, "microBatchSizePerGpu": 8}
    spec["stages"]["evaluate"]["maxAdmissions"] = 4
    return content


def pods(run: Run, attempt: int | None = None) -> dict[str, str]:
    """Its pods, or those of one attempt, by their role in the Ray cluster: head or worker."""
    selector = f"{RUN_LABEL}={run.name}" + (f",{ATTEMPT_LABEL}={attempt}" if attempt else "")
    listed = run.kind.kubectl(
        "get", "pods", "-n", RESEARCH, "-l", selector,
        "-o", r"jsonpath={range .items[*]}{.metadata.labels.ray\.io/node-type}={.metadata.name}{'\n'}{end}",
    )  # fmt: skip
    return dict(line.split("=") for line in listed.split())


def left(run: Run) -> list[str]:
    """All objects in the namespace whose names contain the run's name, including KubeRay's."""
    found = run.kind.kubectl("get", _KINDS, "-n", RESEARCH, "-o", "name").split()
    return [each for each in found if run.name in each]
