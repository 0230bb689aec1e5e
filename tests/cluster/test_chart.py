from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.spec.load import parse
from deepicd_operator.permissions import CLUSTER, NAMESPACED
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import CHART, Helm
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.runs import sample

INSTALL = CHART.parents[1] / "manifests" / "install.yaml"
MONITORING = "monitoring.coreos.com/v1"
MATRIX: dict[str, tuple[str, ...]] = {
    "defaults": (),
    "two replicas in one namespace": ("replicas=2", 'namespaces=["research"]', "nodeAccess=false"),
    "all of it": (
        "replicas=3", "metrics.serviceMonitor.enabled=true", "metrics.rules.enabled=true", "metrics.dashboard.enabled=true",
        'imagePullSecrets=[{"name": "registry"}]', "priorityClassName=system-cluster-critical", 'extraLabels={"team": "nlp"}',
        'tolerations=[{"key": "a", "operator": "Exists"}]', 'env=[{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}]',
        'podAnnotations={"a": "b"}', "runs.podTemplatePatch=any", 'runs.allowedImages=["registry.example.org/team"]',
        'runs.allowedSecrets=["s3-keys", "registry"]', 'runs.allowedServiceAccounts=["trainer"]', "apiServer.ports=[16443]",
        f"image.digest=sha256:{'a' * 64}", 'nodeSelector={"pool": "system"}',
    ),
    "as little as possible": (
        "networkPolicy=false", "runNetworkPolicy=false", "aggregateRoles=false", "crd.install=false",
        "serviceAccount.create=false", "serviceAccount.name=own", "nodeAccess=false", "runs.admissionPolicy=false",
    ),
}  # fmt: skip


@pytest.fixture
def helm(binaries: dict[str, Path], tmp_path: Path) -> Helm:
    """helm without a cluster."""
    return Helm(binaries["helm"], tmp_path)


@pytest.fixture
def helm_at_cluster(cluster: ControlPlane, tmp_path: Path) -> Helm:
    """helm of the cluster's administrator."""
    return Helm(cluster.binaries["helm"], tmp_path, cluster.kubeconfig)


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [each for each in objects if each["kind"] == kind]


def test_lint_finds_nothing(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm.must("lint", "--strict", str(CHART))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("logLevel=loud", "/logLevel"), ("replicas=two", "/replicas"), ("replica=2", "replica"), ("workers=0", "/workers"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"), ("image.digest=latest", "/image/digest"),
        ("metrics.rules.stepsWithoutCheckpoint=0", "stepsWithoutCheckpoint"), ("namespaces={Not_A_Name}", "/namespaces/0"),
        ("runs.podTemplatePatch=some", "/runs/podTemplatePatch"), ("runs.allowedSecrets={A b}", "/runs/allowedSecrets/0"),
        ("runs.allowedServiceAccounts={x'y}", "/runs/allowedServiceAccounts/0"), ("apiServer.ports={0}", "/apiServer/ports/0"),
        ("kuberay.namespace=Ray", "/kuberay/namespace"), ("trainerImage=a b", "/trainerImage"),
        ("nodeAccess=maybe", "/nodeAccess"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_by_name(helm: Helm, value: str, named: str) -> None:
    done = helm.run("template", "deepicd", str(CHART), "--set", value)
    assert done.returncode != 0
    assert named in done.stderr


@pytest.mark.parametrize("name", MATRIX)
def test_the_api_server_takes_every_object(helm: Helm, cluster: ControlPlane, api: Api, namespace: str, name: str) -> None:
    objects = helm.objects(*MATRIX[name], namespace=namespace)
    known = []
    for each in objects:
        if each["apiVersion"] == MONITORING:  # the Prometheus operator is not here
            continue
        if "namespace" in each["metadata"]:
            each["metadata"]["namespace"] = namespace
        known.append(each)
    command = [str(cluster.binaries["kubectl"]), f"--kubeconfig={cluster.kubeconfig}", "apply", "--server-side",
               "--force-conflicts", "--dry-run=server", "--validate=strict", "-f", "-"]  # fmt: skip
    done = subprocess.run(command, input=yaml.safe_dump_all(known), capture_output=True, text=True, timeout=240, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == len(known)


def test_the_rights_are_those_of_the_operator_and_no_more(helm: Helm) -> None:
    (role, *_) = [each for each in of_kind(helm.objects(), "ClusterRole") if each["metadata"]["name"] == "deepicd"]
    assert role["rules"] == [*NAMESPACED, *CLUSTER]
    objects = helm.objects('namespaces=["a", "b"]', "nodeAccess=false", "aggregateRoles=false")
    assert [(each["metadata"]["namespace"], each["rules"]) for each in of_kind(objects, "Role")] == [
        ("a", list(NAMESPACED)), ("b", list(NAMESPACED)),
    ]  # fmt: skip
    assert of_kind(objects, "ClusterRole") == of_kind(objects, "ClusterRoleBinding") == []


def test_the_served_namespaces_reach_the_operator(helm: Helm) -> None:
    (deployment,) = of_kind(helm.objects('namespaces=["a", "b"]'), "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [each for each in arguments if each.startswith("--namespace")] == ["--namespace=a", "--namespace=b"]


def test_the_operator_relies_on_the_admission_policy_only_where_the_chart_installs_it(helm: Helm) -> None:
    for objects, installed in (
        (helm.objects(), True),
        (helm.objects(admission=False), False),
        (helm.objects("runs.admissionPolicy=false"), False),
    ):
        (deployment,) = of_kind(objects, "Deployment")
        arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert ("--admission-policy" in arguments, "--no-admission-policy" in arguments) == (installed, not installed)
        for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"):
            assert len(of_kind(objects, kind)) == installed


def test_the_admission_policy_is_bound_to_the_served_namespaces(helm: Helm) -> None:
    (binding,) = of_kind(helm.objects('namespaces=["a", "b"]'), "ValidatingAdmissionPolicyBinding")
    (chosen,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
    assert (chosen["key"], chosen["values"]) == ("kubernetes.io/metadata.name", ["a", "b"])
    (everywhere,) = of_kind(helm.objects(), "ValidatingAdmissionPolicyBinding")
    assert "matchResources" not in everywhere["spec"]


def test_several_replicas_are_spread_and_one_of_them_stays(helm: Helm) -> None:
    objects = helm.objects("replicas=2")
    assert of_kind(objects, "PodDisruptionBudget")[0]["spec"]["minAvailable"] == 1
    assert "topologySpreadConstraints" in of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]
    assert of_kind(helm.objects(), "PodDisruptionBudget") == []


def test_the_manifest_for_installations_without_helm_is_the_chart_with_its_defaults(helm: Helm) -> None:
    # The first document is the namespace.
    _, *objects = [each for each in yaml.safe_load_all(INSTALL.read_text()) if each]
    assert objects == helm.objects()


def test_the_run_of_helm_test_is_one(api: Api, namespace: str, run_definition: Raw) -> None:
    spec = yaml.safe_load((CHART / "values.yaml").read_text())["test"]["spec"]
    content = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "deepicd-test"}, "spec": spec}
    assert parse(content, "values.yaml").spec.stages.evaluate is not None
    assert api.try_out({**content, "metadata": {"name": "deepicd-test", "namespace": namespace}})["spec"]


def test_the_crd_and_the_runs_survive_upgrade_rollback_and_uninstall(helm_at_cluster: Helm, api: Api, namespace: str) -> None:
    # The namespace enforces the restricted Pod Security Standard: without a pod that it takes, --wait would fail.
    common = ("deepicd", str(CHART), "--namespace", namespace, "--wait", "--timeout", "60s", "--take-ownership")
    helm_at_cluster.must("install", *common, "--set-json", f'namespaces=["{namespace}"]')
    made = api.create(sample("quickstart", namespace))
    try:
        helm_at_cluster.must("upgrade", *common, "--reuse-values", "--set", "replicas=2")
        helm_at_cluster.must("rollback", "deepicd", "1", "--namespace", namespace, "--wait")
    finally:
        helm_at_cluster.must("uninstall", "deepicd", "--namespace", namespace, "--wait")
    kept = api.get("DeepICDRun", "quickstart", namespace)["metadata"]
    assert (kept["uid"], kept.get("deletionTimestamp")) == (made["metadata"]["uid"], None)
    assert [each["metadata"]["name"] for each in api.list("ServiceAccount", namespace)] == ["default"]


def test_the_installed_rights_are_enough_for_a_run(
    helm_at_cluster: Helm, cluster: ControlPlane, api: Api, namespace: str, tmp_path: Path, make_node: Callable[..., Any]
) -> None:
    values = ("--set-json", f'namespaces=["{namespace}"]', "--set", "replicas=0")
    helm_at_cluster.must("install", "deepicd", str(CHART), "--namespace", namespace, "--take-ownership", *values)
    account = cluster.kubeconfig_of(f"system:serviceaccount:{namespace}:deepicd")
    operator = OperatorProcess(account, tmp_path, f"--namespace={namespace}")
    operator.start()
    try:
        operator.wait_until_serving()
        api.create(sample("quickstart", namespace))
        assert wait_for(lambda: api.pods_of("quickstart-a1", namespace), 30, lambda: operator.tail(2000))
    finally:
        operator.kill()
        helm_at_cluster.must("uninstall", "deepicd", "--namespace", namespace)
