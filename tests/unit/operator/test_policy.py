from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd_operator.policy import SCHEDULING, is_image_allowed, verdict
from deepicd_operator.privileges import CAPABILITIES, CONTAINERS, SYSCTLS
from deepicd_operator.settings import PatchLevel, Settings
from tests.unit.operator.builders import NAME, spec

ANY = Settings(image="registry.example/trainer:1", admission_policy=True, pod_template_patch=PatchLevel.ANY)


def judged(settings: Settings = ANY, **changes: Any) -> str:
    content = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": NAME}, "spec": spec(**changes)}
    return "; ".join(verdict(parse(content, "run"), settings))


def judged_or_refused(**changes: Any) -> str:
    """The policy's verdict on a run, or why its spec is refused before that."""
    try:
        return judged(CHECKED, **changes)
    except UserError as error:
        return f"refused: {error}"


def patched(settings: Settings = ANY, metadata: Any = None, **pod: Any) -> str:
    return judged(settings, compute__podTemplatePatch={"spec": pod, "metadata": metadata or {}})


def safe(name: str = "extra", **fields: Any) -> dict[str, Any]:
    """A container without privileges."""
    return {"name": name, "image": "registry.example/extra:1", "securityContext": {"allowPrivilegeEscalation": False}, **fields}


def test_a_run_without_a_patch_violates_no_rule() -> None:
    assert judged(Settings(admission_policy=True)) == ""
    several = {"compute__nodes": 2, "compute__scratch": {"storageClass": "shared"}, "stages__grpo__ppoMiniBatchSize": 8}
    assert judged(Settings(admission_policy=True), **several) == ""


# Each: fields of a container or of its securityContext, and what the refusal names.
IN_A_CONTAINER: list[tuple[dict[str, Any], str]] = [
    ({"securityContext": {"privileged": True}}, "securityContext.privileged: True"),
    ({"securityContext": {"privileged": "true"}}, "securityContext.privileged: true"),
    ({"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation: is not false"),
    ({"securityContext": {"$patch": "replace", "runAsNonRoot": True}}, "allowPrivilegeEscalation: is not false"),
    ({"securityContext": None}, "allowPrivilegeEscalation: is not false"),
    ({"securityContext": {"runAsUser": 0}}, "runAsUser: 0"),
    ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot: is not true"),
    ({"securityContext": {"procMount": "Unmasked"}}, "procMount: Unmasked"),
    ({"securityContext": {"capabilities": {"add": ["CHOWN", "SYS_ADMIN"]}}}, "capabilities.add: SYS_ADMIN"),
    ({"securityContext": {"capabilities": {"add": ["ALL"]}}}, "capabilities.add: ALL"),
    ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "windowsOptions.hostProcess: True"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile.type: Unconfined"),
    ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "appArmorProfile.type: Unconfined"),
    ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, "seLinuxOptions.type: spc_t"),
    ({"securityContext": {"seLinuxOptions": {"user": "system_u"}}}, "seLinuxOptions.user: system_u"),
    ({"securityContext": {"seLinuxOptions": {"type": ["spc_t"]}}}, "seLinuxOptions.type: ['spc_t']"),
    ({"securityContext": {"capabilities": {"add": [{"a": 1}]}}}, "capabilities.add: {'a': 1}"),
    ({"ports": [{"containerPort": 80, "hostPort": 80}]}, "ports: hostPort 80"),
    ({"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}, "livenessProbe.httpGet.host: 10.0.0.1"),
    ({"lifecycle": {"preStop": {"tcpSocket": {"host": "h", "port": 1}}}}, "lifecycle.preStop.tcpSocket.host: h"),
]


@pytest.mark.parametrize(("fields", "named"), IN_A_CONTAINER)
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("containers", "trainer"), ("initContainers", "sync"), ("containers", "extra"), ("initContainers", "extra"),
        ("ephemeralContainers", "extra"),
    ],
)  # fmt: skip
def test_a_privilege_is_refused_in_every_container(kind: str, name: str, fields: dict[str, Any], named: str) -> None:
    container: dict[str, Any] = {**(safe() if name == "extra" else {"name": name}), **fields}
    if name == "extra" and (context := fields.get("securityContext")):
        container["securityContext"] = {"allowPrivilegeEscalation": False, **context}
    if "$patch" in (fields.get("securityContext") or {}):
        container["securityContext"] = fields["securityContext"]
    patch = {"spec": {kind: [container]}}
    if name == "sync" and "lifecycle" in fields:
        # A patch may change none of it.
        assert "sync.lifecycle: is the operator's" in judged_or_refused(compute__podTemplatePatch=patch)
        return
    found = judged(compute__podTemplatePatch=patch)
    assert f"compute.podTemplatePatch.spec.{kind}[{name}]." in found
    assert named in found
    assert "runs.privileged" in found


ON_THE_POD: list[tuple[dict[str, Any], str]] = [
    ({"hostPID": True}, "spec.hostPID: True"),
    ({"hostIPC": True}, "spec.hostIPC: True"),
    ({"hostNetwork": True}, "spec.hostNetwork: True"),
    ({"volumes": [{"name": "node", "hostPath": {"path": "/"}}]}, "spec.volumes[node].hostPath: /"),
    ({"volumes": [{"name": "node", "hostPath": None}]}, ""),
    ({"volumes": [{"name": "scratch", "emptyDir": None, "hostPath": {"path": "/"}}]}, "spec.volumes[scratch].hostPath: /"),
    ({"securityContext": {"runAsUser": 0}}, "spec.securityContext.runAsUser: 0"),
    ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, "sysctls: kernel.msgmax"),
    ({"securityContext": {"sysctls": [{"name": ["kernel.msgmax"], "value": "1"}]}}, "sysctls: ['kernel.msgmax']"),
    ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, "windowsOptions.hostProcess"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "spec.securityContext.seccompProfile.type"),
    ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, "spec.securityContext.appArmorProfile.type"),
    ({"securityContext": {"seLinuxOptions": {"role": "system_r"}}}, "spec.securityContext.seLinuxOptions.role"),
]


@pytest.mark.parametrize(("fields", "named"), ON_THE_POD)
def test_a_privilege_of_the_pod_is_refused(fields: dict[str, Any], named: str) -> None:
    found = patched(**fields)
    assert (named in found) if named else found == ""


def test_an_added_container_may_inherit_runasnonroot_from_the_pod() -> None:
    assert patched(containers=[safe()]) == ""
    assert "containers[extra].securityContext.runAsNonRoot" in patched(
        containers=[safe()], securityContext={"runAsNonRoot": None, "fsGroup": 1}
    )
    refusal = patched(containers=[safe()], securityContext={"runAsNonRoot": False})
    assert "containers[extra].securityContext.runAsNonRoot" in refusal
    assert "[trainer]" not in refusal  # it sets runAsNonRoot itself


def test_an_unconfined_apparmor_annotation_is_refused() -> None:
    name = "container.apparmor.security.beta.kubernetes.io/trainer"
    assert name in patched(metadata={"annotations": {name: "unconfined"}})


def test_a_pod_without_privileges_passes() -> None:
    capabilities = {"add": sorted(CAPABILITIES)}
    trainer = {"name": "trainer", "securityContext": {"runAsUser": 7, "capabilities": capabilities}, "livenessProbe": None}
    sysctls = [{"name": name, "value": "1"} for name in SYSCTLS]
    assert patched(hostUsers=False, containers=[trainer], securityContext={"sysctls": sysctls}) == ""


def test_the_administrator_can_leave_privileges_to_pod_security() -> None:
    settings = Settings(admission_policy=True, pod_template_patch=PatchLevel.ANY, privileged=True)
    assert patched(settings, hostNetwork=True, containers=[{"name": "trainer", "securityContext": {"privileged": True}}]) == ""


@pytest.mark.parametrize(
    ("prefix", "image", "allowed"),
    [
        ("registry.example/team", "registry.example/team", True),
        ("registry.example/team", "registry.example/team/trainer:1", True),
        ("registry.example/team", "registry.example/team:1", True),
        ("registry.example/team", "registry.example/team@sha256:abc", True),
        ("registry.example/team/", "registry.example/team/trainer", True),
        ("registry.example/team", "registry.example/team-evil/trainer:1", False),
        ("registry.example/team", "registry.example/teams", False),
        ("registry.example", "registry.example/any/thing:1", True),
        ("registry.example", "registry.example:5000/evil", False),
        ("registry.example", "registry.example.evil/x", False),
        ("ubuntu", "ubuntu:24.04", True),
        ("ubuntu", "ubuntu@sha256:abc", True),
        ("registry.example/team/trainer:1", "registry.example/team/trainer:1", True),
        ("registry.example/team/trainer:1", "registry.example/team/trainer:1@sha256:abc", True),
        ("registry.example/team/trainer:1", "registry.example/team/trainer:10", False),
        ("registry.example/team", "evil/registry.example/team", False),
    ],
)
def test_a_prefix_ends_where_a_part_of_the_name_ends(prefix: str, image: str, allowed: bool) -> None:
    assert is_image_allowed(image, (prefix,)) == allowed


@given(st.text("ab./:@-", min_size=1), st.text("ab./:@-"))
def test_an_allowed_image_continues_after_its_prefix_with_a_new_part(prefix: str, rest: str) -> None:
    if is_image_allowed(prefix + rest, (prefix,)):
        assert not rest or rest[0] in "/:@" or prefix[-1] == "/"


TEAM = Settings(
    image="registry.example/trainer:1",
    allowed_images=("registry.example/team",),
    admission_policy=True,
    pod_template_patch=PatchLevel.ANY,
)


def test_images_are_judged_in_every_container_and_volume() -> None:
    evil = "registry.example/team-evil/x:1"
    assert judged(TEAM) == ""
    assert judged(TEAM, compute__image="registry.example/team/trainer:2") == ""
    assert judged(TEAM, compute__image=evil) == (
        f"compute.image: {evil}: allowed are registry.example/team (runs.allowedImages)"
    )
    for kind in CONTAINERS:
        assert f"{kind}[extra].image: {evil}" in patched(TEAM, **{kind: [safe(image=evil)]})
    assert "volumes[x].image: " + evil in patched(TEAM, volumes=[{"name": "x", "image": {"reference": evil}}])


LISTED = Settings(allowed_secrets=("listed",), allowed_service_accounts=("listed",), pod_template_patch=PatchLevel.ANY)
CHECKED = Settings(admission_policy=True, pod_template_patch=PatchLevel.ANY)


def test_an_existing_service_account_is_on_the_list_or_checked_by_the_api_server() -> None:
    account = {"compute__serviceAccount": {"name": "admin"}, "storage": None}
    assert "compute.serviceAccount.name: ServiceAccount admin: allowed on this cluster: listed" in judged(LISTED, **account)
    assert judged(LISTED, **{**account, "compute__serviceAccount": {"name": "listed"}}) == ""
    assert judged(CHECKED, **account) == ""


@pytest.mark.parametrize(
    "pod",
    [
        {"serviceAccountName": "admin"},
        {"serviceAccountName": None, "serviceAccount": "admin"},
        {"serviceAccount": "admin"},
        {"serviceAccountName": None},
        {"serviceAccountName": f"{NAME}-other-trainer"},
    ],
)
def test_a_patch_may_name_no_other_service_account(pod: dict[str, Any]) -> None:
    name = pod.get("serviceAccountName") or pod.get("serviceAccount") or "default"
    assert f"ServiceAccount {name}: allowed in a patch: none (runs.allowedServiceAccounts)" in patched(CHECKED, **pod)


BY_FIELD: dict[str, dict[str, Any]] = {
    "storage.s3.credentials.secretName": {"storage": {"s3": {"bucket": "models", "credentials": {"secretName": "payroll"}}}},
    "compute.env[].secret.name": {"compute__env": [{"name": "A", "secret": {"name": "payroll", "key": "k"}}]},
    "compute.dataVolumes[].secret": {"compute__dataVolumes": [{"secret": "payroll", "path": "/x"}]},
    "tracking.mlflow.secret": {
        "tracking": {"mlflow": {"uri": "https://mlflow.example.org", "experiment": "coding", "secret": "payroll"}}
    },
    "compute.imagePullSecrets[]": {"compute__imagePullSecrets": ["payroll"]},
}


@pytest.mark.parametrize("field", BY_FIELD)
def test_a_secret_that_a_field_names_is_on_the_list_or_checked_by_the_api_server(field: str) -> None:
    changes = {"storage": None, **BY_FIELD[field]}
    assert judged(LISTED, **changes) == (f"{field}: Secret payroll: allowed on this cluster: listed (runs.allowedSecrets)")
    assert judged(Settings(allowed_secrets=("payroll",)), **changes) == ""
    assert judged(CHECKED, **changes) == ""


KEY = {"name": "payroll", "key": "k"}
BY_PATCH: list[dict[str, Any]] = [
    {"volumes": [{"name": "x", "secret": {"secretName": "payroll"}}]},
    {"volumes": [{"name": "x", "projected": {"sources": [{"configMap": {"name": "a"}}, {"secret": {"name": "payroll"}}]}}]},
    {"volumes": [{"name": "x", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "payroll"}}}]},
    {"volumes": [{"name": "x", "azureFile": {"secretName": "payroll", "shareName": "s"}}]},
    *({"volumes": [{"name": "x", kind: {"secretRef": {"name": "payroll"}}}]}
      for kind in ("cephfs", "cinder", "flexVolume", "iscsi", "rbd", "scaleIO", "storageos", "inventedLater")),
    {"imagePullSecrets": [{"name": "payroll"}]},
    *({kind: [safe(env=[{"name": "A", "valueFrom": {"secretKeyRef": KEY}}])]} for kind in CONTAINERS),
    *({kind: [safe(envFrom=[{"secretRef": {"name": "payroll"}}])]} for kind in CONTAINERS),
    {"containers": [{"name": "trainer", "envFrom": [{"prefix": "A", "secretRef": {"name": "payroll"}}]}]},
]  # fmt: skip


@pytest.mark.parametrize("pod", BY_PATCH)
def test_a_secret_that_a_patch_names_is_on_the_list(pod: dict[str, Any]) -> None:
    found = patched(CHECKED, **pod)
    assert "compute.podTemplatePatch.spec." in found
    assert "Secret payroll: allowed in a patch: none (runs.allowedSecrets)" in found
    assert patched(Settings(**{**vars(CHECKED), "allowed_secrets": ("payroll",)}), **pod) == ""


def test_free_form_names_of_a_volume_driver_are_not_secrets() -> None:
    driver = {"driver": "secrets-store", "volumeAttributes": {"secretProviderClass": "store"}}
    assert patched(CHECKED, volumes=[{"name": "x", "csi": driver}]) == ""


VALUES: dict[str, Any] = {
    "affinity": {}, "nodeSelector": {}, "schedulingGates": [], "tolerations": [], "topologySpreadConstraints": [],
}  # fmt: skip
OTHER_FIELDS: dict[str, Any] = {
    "containers": [], "initContainers": [], "volumes": [], "nodeName": "n", "securityContext": {}, "$patch": "merge",
    "nodeSelectr": None,
}  # fmt: skip
PATCHES: dict[str, tuple[PatchLevel, dict[str, Any]]] = {
    "metadata.labels": (PatchLevel.METADATA, {"metadata": {"labels": {"a": "b"}}}),
    "metadata.annotations": (PatchLevel.METADATA, {"metadata": {"annotations": {"a": "b"}}}),
    "metadata.finalizers": (PatchLevel.ANY, {"metadata": {"finalizers": []}}),
    "metadata.$patch": (PatchLevel.ANY, {"metadata": {"$patch": "merge"}}),
    **{f"spec.{field}": (PatchLevel.SCHEDULING, {"spec": {field: VALUES.get(field, "x")}}) for field in sorted(SCHEDULING)},
    **{f"spec.{field}": (PatchLevel.ANY, {"spec": {field: value}}) for field, value in OTHER_FIELDS.items()},
}  # fmt: skip


@pytest.mark.parametrize("field", PATCHES)
@pytest.mark.parametrize("level", PatchLevel)
def test_a_patch_changes_what_its_level_allows(level: PatchLevel, field: str) -> None:
    needed, patch = PATCHES[field]
    settings = Settings(admission_policy=True, pod_template_patch=level)
    levels = list(PatchLevel)
    refused = f"compute.podTemplatePatch.{field}: is beyond what patches may change: {level} (runs.podTemplatePatch)"
    assert (refused in judged(settings, compute__podTemplatePatch=patch)) == (levels.index(level) < levels.index(needed))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 1) | st.sampled_from(["x", "payroll", "replace"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([
        "name", "image", "securityContext", "privileged", "hostPath", "env", "envFrom", "valueFrom", "secretKeyRef",
        "secret", "capabilities", "add", "sysctls", "runAsNonRoot", "ports", "hostPort", "projected", "sources",
    ]), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip
FIELDS = st.sampled_from(["containers", "initContainers", "volumes", "imagePullSecrets", "securityContext", "hostPID"])


@given(st.dictionaries(FIELDS, JSON, max_size=3))
def test_a_patch_of_any_shape_gets_a_verdict_and_changes_nothing(pod: dict[str, Any]) -> None:
    before = copy.deepcopy(pod)
    assert "\n" not in judged_or_refused(compute__podTemplatePatch={"spec": pod})
    assert pod == before


@given(st.dictionaries(FIELDS, JSON, max_size=2), st.sampled_from([each for each, _ in ON_THE_POD[:3]]))
def test_nothing_beside_a_privilege_hides_it(pod: dict[str, Any], privilege: dict[str, Any]) -> None:
    found = judged_or_refused(compute__podTemplatePatch={"spec": {**pod, **privilege}})
    assert found.startswith("refused: ") or f"spec.{next(iter(privilege))}: True" in found
