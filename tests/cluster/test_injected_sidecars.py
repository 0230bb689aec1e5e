"""A sidecar injected by an admission policy, as by a service mesh, that never exits."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.api import Api, wait_for
from tests.cluster.operated import ended, quickstart, running_pod, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import end_trainer

pytestmark = pytest.mark.usefixtures("run_definition")

STORE = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}
PROXY = """
Object{spec: Object.spec{containers: [Object.spec.containers{
  name: "mesh-proxy", image: "example.invalid/proxy:1",
  securityContext: Object.spec.containers.securityContext{allowPrivilegeEscalation: false}}]}}
"""


@pytest.fixture(autouse=True)
def mesh(api: Api, namespace: str) -> Iterator[None]:
    """Add the container to every pod of the namespace; the restricted standard would not admit it."""
    api.patch("Namespace", namespace, None, {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "baseline"}}})
    group = {"apiVersion": "admissionregistration.k8s.io/v1"}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    within = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
    api.create({
        **group, "kind": "MutatingAdmissionPolicy", "metadata": {"name": namespace},
        "spec": {
            "matchConstraints": {"resourceRules": [pods]},
            "failurePolicy": "Fail",
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": PROXY}}],
        },
    })  # fmt: skip
    api.create({
        **group, "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": namespace},
        "spec": {"policyName": namespace, "matchResources": within},
    })  # fmt: skip

    def is_in_force() -> bool:
        probe = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "namespace": namespace}}
        made = api.try_out({**probe, "spec": {"containers": [{"name": "x", "image": "x"}]}})
        return len(made["spec"]["containers"]) == 2

    wait_for(is_in_force, 30, "the policy is not in force")
    yield
    for kind in ("MutatingAdmissionPolicyBinding", "MutatingAdmissionPolicy"):
        api.delete(kind, namespace)


def test_the_trainers_end_is_the_attempts_end(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, storage=STORE))
    pod = running_pod(api, namespace)
    assert [each["name"] for each in pod["spec"]["containers"]] == ["trainer", "mesh-proxy"]
    end_trainer(api, pod, 70)
    attempt = ended(api, namespace)
    assert (attempt["reason"], attempt["exitCode"], attempt["counted"]) == ("Crashed", 70, True)
    wait_for(lambda: api.find("Pod", pod["metadata"]["name"], namespace) is None, 30, "its pod is still there")
    second = running_pod(api, namespace, 2)
    stored = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 0}}}
    end_trainer(api, second, 0, stored)
    done = wait_for_state(api, namespace, "Succeeded")
    assert [each["reason"] for each in done["status"]["attempts"]] == ["Crashed", "Completed"]
    wait_for(lambda: not api.list("Pod", namespace), 30, "its pod is still there")
