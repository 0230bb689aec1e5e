"""Fake nodes: kwok keeps those alive that have its label."""

from __future__ import annotations

from tests.cluster.api import Api, Raw, wait_for

ALIVE = "simulated/alive"


def fake_node(name: str, gpus: int, labels: dict[str, str] | None = None) -> Raw:
    """A node with GPUs, 128 cores and 2 TiB; no GPU resource if `gpus` is 0."""
    resources = {"cpu": "128", "memory": "2Ti", "pods": "2000", "ephemeral-storage": "100Ti"}
    if gpus:
        resources["nvidia.com/gpu"] = str(gpus)
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, ALIVE: "yes", **(labels or {})}},
        "status": {"allocatable": resources, "capacity": resources},
    }


def is_ready(node: Raw) -> bool:
    """Whether pods can be scheduled to it."""
    conditions = {each["type"]: each["status"] for each in (node.get("status") or {}).get("conditions") or ()}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def add_nodes(api: Api, *nodes: Raw) -> None:
    """Create nodes and wait until pods can be scheduled to them."""
    for node in nodes:
        api.create(node)
    for node in nodes:
        name = node["metadata"]["name"]
        wait_for(lambda name=name: is_ready(api.get("Node", name)), 60, f"node {name} is not ready")  # type: ignore[misc]


def kill_node(api: Api, name: str) -> None:
    """Stop its reports, as after a power failure; its pods stay as they are."""
    api.patch("Node", name, None, {"metadata": {"labels": {ALIVE: None}}})


def revive_node(api: Api, name: str) -> None:
    """Resume its reports."""
    api.patch("Node", name, None, {"metadata": {"labels": {ALIVE: "yes"}}})


def remove_node(api: Api, name: str) -> None:
    """Remove a node from the cluster, with its pods."""
    for pod in api.list("Pod"):
        if pod["spec"].get("nodeName") == name:
            api.delete("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"], grace=0)
    api.delete("Node", name)
