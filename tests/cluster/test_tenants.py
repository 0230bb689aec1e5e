"""What a user with rights only to runs can get: the chart's admission policy, and the operator with the chart's flags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.api import Api, ApiError, Raw, refusal, wait_for
from tests.cluster.builders import condition
from tests.cluster.control_plane import ControlPlane
from tests.cluster.helm import CHART, Helm
from tests.cluster.operated import RBAC, run_of
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.runs import sample

pytestmark = pytest.mark.usefixtures("run_definition")

STORE: Raw = {"s3": {"bucket": "models", "credentials": {"secretName": "payroll"}}}
PRIVILEGED: Raw = {
    "spec": {
        "hostPID": True,
        "containers": [{"name": "trainer", "securityContext": {"privileged": True, "runAsUser": 0, "runAsNonRoot": False}}],
        "volumes": [{"name": "node", "hostPath": {"path": "/"}}],
    }
}


class Tenancy:
    """The chart, installed for one namespace without a running operator, and users of that namespace."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.plane = plane
        self.namespace = namespace
        self.folder = folder
        self.helm = Helm(plane.binaries["helm"], folder, plane.kubeconfig)

    def install(self, *values: str) -> None:
        chosen = [f'namespaces=["{self.namespace}"]', "replicas=0", *values]
        self.helm.must(
            "install", "deepicd", str(CHART), "--namespace", self.namespace, "--take-ownership",
            *(each for value in chosen for each in ("--set-json", value)),
        )  # fmt: skip

    def uninstall(self) -> None:
        self.helm.run("uninstall", "deepicd", "--namespace", self.namespace, "--wait")

    def user(self, name: str, *rules: Raw) -> Api:
        """A user with all rights to runs, and those of the rules."""
        api, name = self.plane.api, f"{name}-{self.namespace}"
        runs = {"apiGroups": ["deepicd.io"], "resources": ["deepicdruns"], "verbs": ["*"]}
        metadata = {"name": name, "namespace": self.namespace}
        api.apply({"apiVersion": f"{RBAC}/v1", "kind": "Role", "metadata": metadata, "rules": [runs, *rules]})
        api.apply({
            "apiVersion": f"{RBAC}/v1", "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": name},
            "subjects": [{"apiGroup": RBAC, "kind": "User", "name": name}],
        })  # fmt: skip
        return Api(self.plane.kubeconfig_of(name))

    def operator(self) -> OperatorProcess:
        """The operator as the installed Deployment would run it, with the rights that the chart gave it."""
        objects = yaml.safe_load_all(self.helm.must("get", "manifest", "deepicd", "--namespace", self.namespace))
        (deployment,) = [each for each in objects if each and each["kind"] == "Deployment"]
        run, *arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
        assert run == "run"
        account = self.plane.kubeconfig_of(f"system:serviceaccount:{self.namespace}:deepicd")
        made = OperatorProcess(account, self.folder, *(each for each in arguments if not each.startswith("--port=")))
        made.start()
        made.wait_until_serving()
        return made


def may(verb: str, resource: str, *names: str) -> Raw:
    return {"apiGroups": [""], "resources": [resource], "verbs": [verb], **({"resourceNames": list(names)} if names else {})}


def refused(api: Api, content: Raw) -> str:
    with pytest.raises(ApiError) as caught:
        api.try_out(content)
    return refusal(caught.value)


@pytest.fixture(scope="module")
def shared(cluster: ControlPlane, run_definition: Raw, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenancy]:
    """One installation for the tests that only ask the API server."""
    name = f"tenants-{time.time_ns():x}"
    cluster.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    made = Tenancy(cluster, name, tmp_path_factory.mktemp("tenants"))
    made.install('runs.allowedSecrets=["listed"]', 'runs.allowedServiceAccounts=["listed"]')
    stranger = made.user("stranger")

    def enforced() -> bool:
        try:
            stranger.try_out(sample("quickstart", name, storage=STORE))
        except ApiError as error:
            return error.code == 403
        return False

    try:
        wait_for(enforced, 30, "the API server does not know the policy yet")
        yield made
    finally:
        made.uninstall()
        cluster.api.delete("Namespace", name)


@pytest.fixture
def tenancy(cluster: ControlPlane, namespace: str, tmp_path: Path) -> Iterator[Tenancy]:
    """A namespace for the test, at first without the chart."""
    made = Tenancy(cluster, namespace, tmp_path)
    yield made
    made.uninstall()


NAMING: dict[str, dict[str, Any]] = {
    "spec.storage.s3.credentials.secretName": {"storage": STORE},
    "spec.compute.env[].secret.name": {"compute__env": [{"name": "A", "secret": {"name": "payroll", "key": "k"}}]},
    "spec.compute.dataVolumes[].secret": {"compute__dataVolumes": [{"secret": "payroll", "path": "/x"}]},
    "spec.compute.imagePullSecrets[]": {"compute__imagePullSecrets": ["payroll"]},
}


@pytest.mark.parametrize("field", NAMING)
def test_a_secret_that_the_user_may_not_get_is_refused_by_field_and_name(shared: Tenancy, field: str) -> None:
    user = shared.user("stranger")
    message = refused(user, sample("quickstart", shared.namespace, **NAMING[field]))
    assert message.startswith("403")
    assert f"{field}: Secret payroll: stranger-{shared.namespace} may not get it" in message
    assert "runs.allowedSecrets" in message


@pytest.mark.parametrize("field", NAMING)
@pytest.mark.parametrize("names", [(), ("payroll",)])
def test_a_secret_that_the_user_may_get_is_accepted(shared: Tenancy, field: str, names: tuple[str, ...]) -> None:
    user = shared.user(f"reader{len(names)}", may("get", "secrets", *names))
    assert user.try_out(sample("quickstart", shared.namespace, **NAMING[field]))["spec"]


def test_the_right_to_one_secret_is_none_to_another(shared: Tenancy) -> None:
    user = shared.user("reader1", may("get", "secrets", "payroll"))
    keys = [{"name": f"A{number}", "secret": {"name": name, "key": "k"}} for number, name in enumerate(("payroll", "other"))]
    message = refused(user, sample("quickstart", shared.namespace, storage=STORE, compute__env=keys))
    assert "spec.compute.env[].secret.name: Secret other:" in message


def test_a_service_account_needs_the_right_to_impersonate_it(shared: Tenancy) -> None:
    content = sample("quickstart", shared.namespace, compute__serviceAccount={"name": "admin"})
    message = refused(shared.user("stranger"), content)
    assert (
        f"spec.compute.serviceAccount.name: ServiceAccount admin: stranger-{shared.namespace} may not impersonate it" in message
    )
    assert shared.user("keeper", may("impersonate", "serviceaccounts", "admin")).try_out(content)["spec"]
    elsewhere = sample("quickstart", shared.namespace, compute__serviceAccount={"name": "other"})
    assert "ServiceAccount other" in refused(shared.user("keeper", may("impersonate", "serviceaccounts", "admin")), elsewhere)


def test_names_in_the_charts_lists_are_allowed_for_all_users(shared: Tenancy) -> None:
    store = {"s3": {"bucket": "models", "credentials": {"secretName": "listed"}}}
    content = sample("quickstart", shared.namespace, storage=store, compute__serviceAccount={"name": "listed"})
    assert shared.user("stranger").try_out(content)["spec"]


def test_eight_secrets_are_accepted_with_rights_by_name_and_more_with_the_right_to_all(shared: Tenancy) -> None:
    names = [f"secret-{number}" for number in range(9)]
    user = shared.user("collector", may("get", "secrets", *names))
    # Each of them twice: only distinct names count.
    keys = [{"name": f"A{number}", "secret": {"name": name, "key": "k"}} for number, name in enumerate(names[:8] * 2)]
    assert user.try_out(sample("quickstart", shared.namespace, compute__env=keys))["spec"]
    content = sample("quickstart", shared.namespace, compute__env=keys, compute__imagePullSecrets=names[8:])
    assert "more than 8 Secrets" in refused(user, content)
    assert shared.user("reader0", may("get", "secrets")).try_out(content)["spec"]


def test_fields_that_are_null_name_nothing(shared: Tenancy) -> None:
    content = sample("quickstart", shared.namespace, storage=None, compute__env=[{"name": "A", "value": "b", "secret": None}],
                     compute__serviceAccount={"name": None}, compute__dataVolumes=[{"claim": "c", "path": "/x"}])  # fmt: skip
    assert shared.user("stranger").try_out(content)["spec"]


def test_updates_are_checked_only_for_added_names(shared: Tenancy, api: Api) -> None:
    user, place = shared.user("stranger"), ("DeepICDRun", "quickstart", shared.namespace)
    api.create(sample("quickstart", shared.namespace, storage=STORE, compute__serviceAccount={"name": "admin"}))
    try:
        user.patch(*place, {"spec": {"suspend": True, "compute": {"memory": "65Gi"}}})
        user.patch(*place, {"metadata": {"labels": {"team": "icd"}, "finalizers": ["example.org/x"]}})
        user.patch(*place, {"metadata": {"finalizers": None}})
        with pytest.raises(ApiError) as caught:
            user.patch(*place, {"spec": {"compute": {"imagePullSecrets": ["registry"]}}})
        assert "spec.compute.imagePullSecrets[]: Secret registry:" in refusal(caught.value)
        # Less is no more.
        user.patch(*place, {"spec": {"compute": {"serviceAccount": None}}})
    finally:
        user.delete(*place)
    assert wait_for(lambda: api.find(*place) is None, 30, "it is not deleted")


def test_a_privileged_patch_is_refused_by_the_operator_before_anything_is_created(tenancy: Tenancy, api: Api) -> None:
    tenancy.install('runs.podTemplatePatch="any"')
    operator = tenancy.operator()
    try:
        tenancy.user("attacker").create(sample("quickstart", tenancy.namespace, compute__podTemplatePatch=PRIVILEGED))
        found = verdict(api, tenancy.namespace)
        assert (found["status"], found["reason"]) == ("False", "NotAllowed")
        for field in ("hostPID", "hostPath", "privileged", "runAsUser", "runs.privileged"):
            assert field in found["message"]
        assert [each for kind in ("Job", "ServiceAccount", "NetworkPolicy", "Role") for each in ours(api, kind, tenancy)] == []
        assert run_of(api, tenancy.namespace)["status"]["state"] == "Pending"
        api.patch("DeepICDRun", "quickstart", tenancy.namespace, {"spec": {"compute": {"podTemplatePatch": None}}})
        assert wait_for(lambda: ours(api, "Job", tenancy), 30, lambda: run_of(api, tenancy.namespace)["status"])
    finally:
        operator.kill()


@pytest.mark.parametrize(
    ("values", "changes", "named"),
    [
        ((), {"compute__podTemplatePatch": {"spec": {"containers": []}}}, "compute.podTemplatePatch.spec.containers"),
        (
            ('runs.podTemplatePatch="any"',),
            {"compute__podTemplatePatch": {"spec": {"serviceAccountName": "admin"}}},
            "ServiceAccount admin",
        ),
        (
            ('runs.allowedImages=["registry.example/team"]',),
            {"compute__image": "registry.example/team-evil/x:1"},
            "compute.image",
        ),
        (("runs.admissionPolicy=false",), {"storage": STORE}, "storage.s3.credentials.secretName: Secret payroll"),
    ],
    ids=["a patch beyond its level", "a patch with an account", "an image", "a secret without a policy"],
)
def test_the_charts_values_reach_the_operator(
    tenancy: Tenancy, api: Api, values: tuple[str, ...], changes: dict[str, Any], named: str
) -> None:
    tenancy.install(*values)
    operator = tenancy.operator()
    try:
        tenancy.user("attacker").create(sample("quickstart", tenancy.namespace, **changes))
        found = verdict(api, tenancy.namespace)
        assert (found["status"], found["reason"]) == ("False", "NotAllowed")
        assert named in found["message"]
        assert ours(api, "Job", tenancy) == []
    finally:
        operator.kill()


@pytest.fixture
def endpoints(cluster: ControlPlane, api: Api) -> Iterator[Callable[[], int]]:
    """Create the endpoints of the API server, which a cluster not on loopback records itself. Return their port."""
    port = int(cluster.server.rpartition(":")[2])
    api.apply({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "endpoints": [{"addresses": ["192.0.2.1"]}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })  # fmt: skip
    yield lambda: port
    api.delete("EndpointSlice", "kubernetes", "default")


def test_pods_may_reach_the_api_server_on_its_port(tenancy: Tenancy, api: Api, endpoints: Callable[[], int]) -> None:
    tenancy.install()
    operator = tenancy.operator()
    try:
        api.create(sample("quickstart", tenancy.namespace))
        wait_for(lambda: ours(api, "Job", tenancy), 30, lambda: run_of(api, tenancy.namespace)["status"])
        assert ports(api.get("NetworkPolicy", "quickstart-trainer", tenancy.namespace)) >= {443, endpoints()}
        assert ports(api.get("NetworkPolicy", "deepicd", tenancy.namespace)) == {53, 443, endpoints()}
    finally:
        operator.kill()


def test_given_ports_take_precedence_over_those_found(tenancy: Tenancy, api: Api, endpoints: Callable[[], int]) -> None:
    tenancy.install("apiServer.ports=[16443]")
    assert ports(api.get("NetworkPolicy", "deepicd", tenancy.namespace)) == {53, 443, 16443}


def ports(policy: Raw) -> set[int]:
    return {port["port"] for rule in policy["spec"]["egress"] for port in rule["ports"]}


def verdict(api: Api, namespace: str) -> Raw:
    return wait_for(lambda: condition(run_of(api, namespace), "Accepted"), 30, "there is no verdict")


def ours(api: Api, kind: str, tenancy: Tenancy) -> list[str]:
    labels = {"app.kubernetes.io/instance": "quickstart"}
    return [each["metadata"]["name"] for each in api.list(kind, tenancy.namespace, **labels)]
