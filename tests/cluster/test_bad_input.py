"""Mistakes of users and platforms: each is reported with its remedy, and the operator continues with other runs."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepicd_operator.crd import crd
from tests.cluster.api import Api, ApiError, Raw, refusal, wait_for
from tests.cluster.builders import condition
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operated import (
    USER,
    ended,
    grant,
    pod_of,
    quickstart,
    reason_of,
    run_of,
    running_pod,
    state_of,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, end_pod
from tests.cluster.runs import sample

pytestmark = pytest.mark.usefixtures("run_definition")


def test_a_pod_that_the_namespace_forbids_is_named_and_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace, compute__priorityClass="invented"))
    wait_for(lambda: reason_of(api, namespace, "Scheduled") == "PodRefused", 60, lambda: run_of(api, namespace)["status"])
    message = (condition(run_of(api, namespace), "Scheduled") or {})["message"]
    assert "no PriorityClass with name invented" in message
    assert "compute.podTemplatePatch" in message


def test_a_name_that_is_taken_is_waited_for(api: Api, namespace: str, operator: OperatorProcess) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "quickstart-trainer", "namespace": namespace}}
    api.create(account)
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
    assert (attempt["reason"], attempt["counted"]) == ("SpecChanged", False)
    end_pod(api, running_pod(api, namespace, 2))
    wait_for_state(api, namespace, "Succeeded")


def test_a_spec_that_is_changed_mid_run_is_refused_and_the_run_continues(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace))
    pod_name = running_pod(api, namespace)["metadata"]["name"]
    wait_for_state(api, namespace, "Running")
    with pytest.raises(ApiError) as refused:
        api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"stages": {"grpo": {"maxSteps": 99}}}})
    assert "spec.stages.grpo.maxSteps: Invalid value: " in refusal(refused.value)
    end_pod(api, pod_of(api, namespace))
    assert wait_for_state(api, namespace, "Succeeded")["status"]["attempts"][0]["pod"] == pod_name


def nested(depth: int) -> Raw:
    return {"a": nested(depth - 1)} if depth else {}


def patched(**patch: Any) -> Raw:
    return {"compute__podTemplatePatch": patch}


def container(field: str, name: str, **fields: Any) -> Raw:
    return patched(spec={field: [{"name": name, **fields}]})


STORE: dict[str, Any] = {"storage": {"s3": {"bucket": "models"}}}
PASSED_ON: dict[str, tuple[Raw, str]] = {
    "port": ({"storage": {"s3": {"bucket": "models", "endpoint": "https://minio:90000"}}}, "spec.storage.s3.endpoint: "),
    "bracket": ({"storage": {"s3": {"bucket": "models", "endpoint": "http://["}}}, "spec.storage.s3.endpoint: "),
    "no-host": ({"storage": {"s3": {"bucket": "models", "endpoint": "https://:9000"}}}, "spec.storage.s3.endpoint: "),
    "labels-null": (patched(metadata={"labels": None}), "podTemplatePatch.metadata.labels: "),
    "labels-text": (patched(metadata={"labels": "x"}), "podTemplatePatch.metadata.labels: "),
    "label-number": (patched(metadata={"labels": {"a": 1}}), "podTemplatePatch.metadata.labels.a: "),
    "annotations": (patched(metadata={"annotations": None}), "podTemplatePatch.metadata.annotations: "),
    "metadata": (patched(metadata={"$patch": "replace"}), "podTemplatePatch.metadata.labels: "),
    "replaced": (patched(spec={"$patch": "replace"}), "podTemplatePatch.spec.containers: "),
    "map": (patched(spec={"containers": {"name": "trainer"}}), "podTemplatePatch.spec.containers: "),
    "volumes": (patched(spec={"volumes": ["x"]}), "podTemplatePatch.spec.volumes.0: "),
    "trainer": (container("containers", "trainer", **{"$patch": "delete"}), "podTemplatePatch.spec.containers: "),
    "sync": (container("initContainers", "sync", **{"$patch": "delete"}) | STORE, "podTemplatePatch.spec.initContainers: "),
    "command": (container("initContainers", "sync", command=["x"]) | STORE, "spec.initContainers.sync.command: "),
    "deep": (patched(spec=nested(900)), "podTemplatePatch.spec: "),
}
"""Specs that the API server accepts although they make no valid pod: fields of the spec, and the field at fault."""


def test_a_spec_that_makes_no_valid_pod_is_reported_by_its_field(api: Api, namespace: str, operator: OperatorProcess) -> None:
    for name, (changes, _) in PASSED_ON.items():
        content = sample("quickstart", namespace, **changes)
        api.create(content | {"metadata": {"name": name, "namespace": namespace}})

    def undecided() -> list[str]:
        runs = api.list("DeepICDRun", namespace)
        return [run["metadata"]["name"] for run in runs if condition(run, "Accepted") is None]

    wait_for(lambda: not undecided(), 60, undecided)
    verdicts = {run["metadata"]["name"]: condition(run, "Accepted") or {} for run in api.list("DeepICDRun", namespace)}
    assert set(verdicts) == set(PASSED_ON)
    for name, (_, field) in PASSED_ON.items():
        assert (verdicts[name]["status"], verdicts[name]["reason"]) == ("False", "InvalidSpec"), name
        assert field in verdicts[name]["message"], name
    assert api.list("Job", namespace) == []
    assert "Traceback" not in operator.log.read_text()


_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
MISSPELT: dict[str, tuple[str, Raw, str]] = {
    "affinity": ("affinity", {"nodeAfinity": {}}, "spec.compute.affinity.nodeAfinity: unknown field"),
    "patch": (
        "podTemplatePatch",
        {"spec": {"topologySpreadConstraints": [{"maxSkw": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}]}},
        "spec.compute.podTemplatePatch.spec.topologySpreadConstraints[0].maxSkw: unknown field",
    ),
    "value": (
        "affinity",
        {"nodeAffinity": {_REQUIRED: {"nodeSelectorTerms": []}}},
        f"spec.compute.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms: Required value",
    ),
}
"""Mistakes that show only when the Job is created: a field of `compute`, its value, and the message."""


def test_a_typo_within_the_pod_is_named_by_the_runs_own_field_and_can_be_corrected(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    for name, (field, value, _) in MISSPELT.items():
        content = quickstart(namespace, {RUNS_FOR: "0s"})
        compute = content["spec"]["compute"]
        compute[field] = {**compute.get(field, {}), **value}
        api.create(content | {"metadata": {**content["metadata"], "name": name}})
    for name, (_, _, found) in MISSPELT.items():

        def accepted(name: str = name) -> Raw:
            return condition(api.get("DeepICDRun", name, namespace), "Accepted") or {}

        wait_for(lambda: accepted().get("status") == "False", 60, accepted)
        assert accepted()["reason"] == "InvalidSpec"
        assert found in accepted()["message"]
    assert api.list("Job", namespace) == []
    api.patch("DeepICDRun", "affinity", namespace, {"spec": {"compute": {"affinity": None}}})
    wait_for(lambda: api.get("DeepICDRun", "affinity", namespace)["status"]["state"] == "Succeeded", 120, "it does not finish")
    assert (condition(api.get("DeepICDRun", "affinity", namespace), "Accepted") or {})["status"] == "True"


def test_a_quota_on_limits_refuses_no_uploader_and_takes_a_trainer_with_limits(
    api: Api, namespace: str, operator: OperatorProcess
) -> None:
    hard = {"limits.cpu": "100", "limits.memory": "500Gi", "requests.cpu": "100", "requests.memory": "500Gi"}
    metadata = {"name": "compute", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
    wait_for(lambda: api.get("ResourceQuota", "compute", namespace).get("status", {}).get("hard"), 30, "no quota is in force")
    api.create(quickstart(namespace, **STORE))

    def refused() -> str:
        return str((condition(run_of(api, namespace), "Scheduled") or {}).get("message", ""))

    wait_for(lambda: "limits.cpu for: trainer;" in refused(), 60, refused)
    assert "sync" not in refused()
    compute = {"cpu": 1, "cpuLimit": 2, "memory": "32Gi"}
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"compute": compute}})
    resources = [each["resources"] for each in running_pod(api, namespace, 2)["spec"]["initContainers"]]
    assert [each["limits"] for each in resources] == [{"cpu": "2", "memory": "1Gi"}]


@pytest.fixture
def newer_definition(api: Api) -> Iterator[None]:
    """A CRD with a field that this operator does not know."""
    newer: dict[str, Any] = crd()
    spec = newer["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    spec["properties"]["futureField"] = {"type": "string"}
    api.apply(newer)
    yield
    api.apply(crd())


def taken(api: Api, content: Raw) -> Raw:
    """The spec as the API server would store it; None if it refuses it."""
    try:
        return dict(api.try_out(content)["spec"])
    except ApiError:
        return {}


@pytest.mark.usefixtures("newer_definition")
def test_a_field_of_a_newer_crd_is_named_and_nothing_is_started(api: Api, namespace: str, operator: OperatorProcess) -> None:
    content = quickstart(namespace, {RUNS_FOR: "0s"})
    content["spec"]["futureField"] = "x"

    wait_for(lambda: "futureField" in taken(api, content), 30, "the API server does not know the newer definition")
    api.create(content)
    wait_for(lambda: reason_of(api, namespace, "Accepted") == "UnknownField", 30, lambda: run_of(api, namespace).get("status"))
    assert "futureField" in (condition(run_of(api, namespace), "Accepted") or {})["message"]
    assert api.list("Job", namespace) == []
    api.patch("DeepICDRun", "quickstart", namespace, {"spec": {"futureField": None}})
    wait_for_state(api, namespace, "Succeeded")


def test_a_namespace_that_is_deleted_mid_run_does_not_affect_the_others(
    cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path
) -> None:
    doomed = f"{namespace}-doomed"
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": doomed}})
    wait_for(lambda: api.find("ServiceAccount", "default", doomed), 30, "the namespace has no ServiceAccount")
    for each in (namespace, doomed):
        grant(api, each)
    served = (f"--namespace={namespace}", f"--namespace={doomed}", "--resync=1")
    operator = OperatorProcess(cluster.kubeconfig_of(USER), tmp_path, *served, hasty=True)
    operator.start()
    operator.wait_until_serving()
    try:
        for each in (namespace, doomed):
            api.create(quickstart(each))
            running_pod(api, each)
        api.delete("Namespace", doomed)
        wait_for(lambda: not api.list("DeepICDRun", doomed), 60, "the doomed namespace's run is still there")
        wait_for(lambda: "a namespace cannot be served" in operator.log.read_text(), 60, operator.tail)
        end_pod(api, running_pod(api, namespace))
        wait_for(lambda: state_of(api, namespace) == "Succeeded", 60, lambda: run_of(api, namespace)["status"])
        assert operator.running
        assert "a full list failed" not in operator.log.read_text()
        assert "Traceback" not in operator.log.read_text()
    finally:
        sys.stdout.write(operator.tail())  # shown where the test fails
        operator.kill()
