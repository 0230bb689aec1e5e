"""A quickstart run under an operator, and what tests do with it."""

from __future__ import annotations

import json
from typing import Any

from deepicd_operator.permissions import CLUSTER, NAMESPACED
from deepicd_operator.reasons import Reason
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.builders import condition
from tests.cluster.runs import sample

USER = "deepicd-operator"
RBAC = "rbac.authorization.k8s.io"
CHILDREN = ("Job", "Pod", "ConfigMap", "ServiceAccount", "Role", "RoleBinding", "NetworkPolicy")


def grant(api: Api, namespace: str) -> None:
    """The rights that `deepicd-operator permissions` prints, and no others."""
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


def quickstart(namespace: str, annotations: dict[str, str] | None = None, **changes: Any) -> Raw:
    """A run of one GPU with quick retries, whose pods have the annotations."""
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
    name = f"quickstart-a{attempt}-progress"
    wait_for(lambda: api.find("ConfigMap", name, namespace), 30, "there is nothing to report to")
    api.patch("ConfigMap", name, namespace, {"data": data})


def leftovers(api: Api, namespace: str) -> list[str]:
    """Everything in the namespace that a run owns."""
    return [
        f"{kind} {each['metadata']['name']}"
        for kind in CHILDREN
        for each in api.list(kind, namespace)
        if (each["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by") == "deepicd-operator"
    ]


def attempts(api: Api, namespace: str) -> list[Raw]:
    return list((run_of(api, namespace).get("status") or {}).get("attempts") or ())


def ended(api: Api, namespace: str, number: int = 1, seconds: float = 60) -> Raw:
    """An attempt that is over; its message says what to do, if anything is to be done."""

    def look() -> Raw | None:
        return next((each for each in attempts(api, namespace) if each["number"] == number and each.get("end")), None)

    attempt = wait_for(look, seconds, lambda: run_of(api, namespace).get("status"))
    assert Reason(attempt["reason"]).explanation.remedy in attempt["message"]
    return attempt


def reason_of(api: Api, namespace: str, kind: str) -> str:
    found = condition(run_of(api, namespace), kind)
    return found["reason"] if found else ""
