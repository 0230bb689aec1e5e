from __future__ import annotations

import copy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.spec.load import parse
from deepicd_operator import resources
from deepicd_operator.resources import (
    AttemptRequest,
    CannotPlanError,
    further_objects,
    starting_objects,
    supporting_objects,
)
from deepicd_operator.settings import Settings
from tests.unit.operator.builders import NAME, SETTINGS, UID, spec


def request(name: str = NAME, number: int = 1, settings: Settings = SETTINGS, **changes: Any) -> AttemptRequest:
    content = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": name}, "spec": spec(**changes)}
    return AttemptRequest(parse(content, "run"), "research", UID, number, settings)


def attempt_objects(asked: AttemptRequest) -> list[dict[str, Any]]:
    return [each for group in (*starting_objects(asked), *further_objects(asked)) for each in group]


def made(kind: str, **changes: Any) -> dict[str, Any]:
    return next(each for each in attempt_objects(request(**changes)) if each["kind"] == kind)


def pod(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = made("Job", **changes)["spec"]["template"]
    return found


def trainer(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**changes)["spec"]["containers"][0]
    return found


def test_every_object_belongs_to_the_run_and_has_its_labels() -> None:
    for each in attempt_objects(request()):
        owner = each["metadata"]["ownerReferences"][0]
        assert (owner["uid"], owner["controller"]) == (UID, True)
        assert each["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "deepicd-operator"
        assert each["metadata"]["labels"]["deepicd.io/run"] == NAME
        assert each["metadata"]["namespace"] == "research"


@pytest.mark.parametrize("nodes", [1, 2])
def test_names_and_labels_of_the_longest_run_fit(nodes: int) -> None:
    name = "a" * (52 if nodes == 1 else 42)
    objects = attempt_objects(
        request(name=name, number=99999, compute__nodes=nodes, compute__scratch={"storageClass": "shared"})
    )
    for each in objects:
        assert len(each["metadata"]["name"]) <= (63 if each["kind"] in ("Job", "RayJob") else 253)
        assert all(len(value) <= 63 for value in each["metadata"]["labels"].values())


def test_the_job_is_tried_once_and_records_why_it_failed() -> None:
    job = made("Job")["spec"]
    assert (job["backoffLimit"], job["template"]["spec"]["restartPolicy"]) == (0, "Never")
    assert [rule["action"] for rule in job["podFailurePolicy"]["rules"]] == ["FailJob"] * 3
    assert "suspend" not in job


def test_a_queue_suspends_the_job_for_kueue() -> None:
    job = made("Job", compute__queue="gpus")
    assert job["spec"]["suspend"] is True
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "gpus"


def test_the_pod_satisfies_the_restricted_standard() -> None:
    template = pod()["spec"]
    assert template["securityContext"]["runAsNonRoot"] is True
    for container in template["containers"] + template["initContainers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"] == {"drop": ["ALL"]}
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        assert context["readOnlyRootFilesystem"] is True


def test_the_uploader_is_a_sidecar_and_exists_only_with_a_store() -> None:
    sidecar = pod(recovery__gracePeriod="7m")["spec"]["initContainers"][0]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("sync", "Always")
    assert sidecar["command"][:2] == ["deepicd", "sync"]
    assert sidecar["command"][-5:] == ["--grace", "7m", "--grace-from", "/tmp/deepicd-termination", "--json"]
    assert "initContainers" not in pod(storage=None)["spec"]


def test_the_uploaders_hook_writes_the_time_to_the_file_that_the_uploader_reads() -> None:
    sidecar = pod()["spec"]["initContainers"][0]
    command = sidecar["lifecycle"]["preStop"]["exec"]["command"]
    assert command == ["cp", "/proc/uptime", sidecar["command"][-2]]
    assert "/tmp" in [mount["mountPath"] for mount in sidecar["volumeMounts"]]


@pytest.mark.parametrize(
    ("uploader", "requests", "limits"),
    [
        ({}, ("100m", "256Mi"), ("2000m", "1Gi")),
        ({"cpu": 3, "memory": "2Gi"}, ("3000m", "2Gi"), ("3000m", "2Gi")),
        ({"cpuLimit": 0.5, "memoryLimit": "512Mi"}, ("100m", "256Mi"), ("500m", "512Mi")),
    ],
)
def test_the_uploader_has_requests_and_limits_of_both(
    uploader: dict[str, Any], requests: tuple[str, str], limits: tuple[str, str]
) -> None:
    resources = pod(compute__uploader=uploader)["spec"]["initContainers"][0]["resources"]
    assert resources == {
        "requests": {"cpu": requests[0], "memory": requests[1]},
        "limits": {"cpu": limits[0], "memory": limits[1]},
    }


def test_the_pod_has_run_yaml_as_the_trainer_reads_it() -> None:
    template = pod()
    content = template["metadata"]["annotations"]["deepicd.io/run.yaml"]
    assert parse(yaml.safe_load(content), "annotation").metadata.name == NAME
    volume = next(each for each in template["spec"]["volumes"] if each["name"] == "run")
    assert volume["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.annotations['deepicd.io/run.yaml']"
    assert trainer()["command"] == ["deepicd", "run", "/etc/deepicd/run.yaml", "--dir", "/scratch/run", "--json"]


def test_the_pod_knows_its_run_and_attempt() -> None:
    environment = {each["name"]: each.get("value") for each in trainer()["env"]}
    assert environment["DEEPICD_RUN_UID"] == UID
    assert environment["DEEPICD_ATTEMPT"] == "1"
    assert environment["DEEPICD_PROGRESS"] == f"{NAME}-a1-progress"


def test_the_trainer_leaves_uploading_to_the_sidecar_if_there_is_one() -> None:
    assert {"name": "DEEPICD_SIDECAR", "value": "1"} in trainer()["env"]
    assert "DEEPICD_SIDECAR" not in {each["name"] for each in trainer(storage=None)["env"]}


def test_the_role_lets_the_pods_patch_one_config_map_and_nothing_else() -> None:
    rules = made("Role")["rules"]
    assert rules == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [f"{NAME}-a1-progress"], "verbs": ["patch"]}
    ]
    assert made("RoleBinding")["subjects"][0]["name"] == pod()["spec"]["serviceAccountName"] == f"{NAME}-trainer"


def test_an_existing_service_account_is_used_as_it_is() -> None:
    kinds = [each["kind"] for each in attempt_objects(request(compute__serviceAccount={"name": "own"}))]
    assert "ServiceAccount" not in kinds
    assert pod(compute__serviceAccount={"name": "own"})["spec"]["serviceAccountName"] == "own"


def test_resources_are_requested_according_to_compute() -> None:
    asked = trainer(compute={"gpus": 1, "cpu": 3.5, "cpuLimit": 4, "memory": "64Gi"})["resources"]
    assert asked["requests"] == {"cpu": "3500m", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert asked["limits"] == {"cpu": "4000m", "memory": "64Gi", "nvidia.com/gpu": "1"}
    assert trainer(compute={"gpus": 1, "gpuResource": ""})["resources"] == {"requests": {}, "limits": {}}


def test_every_mount_has_its_volume() -> None:
    template = pod(
        compute__modelCache="models", compute__scratch={"size": "1Ti", "storageClass": "fast"},
        compute__dataVolumes=[
            {"claim": "mimic", "path": "/data", "subPath": "v3.1"}, {"configMap": "ca", "path": "/ca"},
            {"secret": "s", "path": "/s"},
        ],
    )["spec"]  # fmt: skip
    volumes = {each["name"]: each for each in template["volumes"]}
    for container in template["containers"] + template["initContainers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    mounted = {mount["mountPath"]: mount for mount in template["containers"][0]["volumeMounts"]}
    assert mounted["/data"]["readOnly"] is True
    assert mounted["/data"]["subPath"] == "v3.1"
    assert volumes["scratch"]["persistentVolumeClaim"] == {"claimName": f"{NAME}-a1"}
    assert volumes["shared-memory"]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert "/var/run/secrets/deepicd/s3" in mounted


def test_a_missing_key_of_the_secret_stops_the_pod_and_a_missing_token_does_not() -> None:
    volume = next(each for each in pod()["spec"]["volumes"] if each["name"] == "s3")
    needed, optional = (source["secret"] for source in volume["projected"]["sources"])
    assert [item["key"] for item in needed["items"]] == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    assert "optional" not in needed
    assert optional["optional"] is True


def test_env_may_come_from_secrets_and_replaces_what_the_operator_sets() -> None:
    env = [{"name": "HF_TOKEN", "secret": {"name": "hub", "key": "token"}}, {"name": "HF_HOME", "value": "/models"}]
    found = {each["name"]: each for each in trainer(compute__env=env)["env"]}
    assert found["HF_TOKEN"]["valueFrom"]["secretKeyRef"] == {"name": "hub", "key": "token"}
    assert found["HF_HOME"] == {"name": "HF_HOME", "value": "/models"}


def test_placement_goes_to_the_pod() -> None:
    template = pod(
        compute__nodeSelector={"gpu": "h100"}, compute__tolerations=[{"key": "gpu", "operator": "Exists"}],
        compute__priorityClass="urgent", compute__runtimeClass="nvidia", compute__imagePullSecrets=["registry"],
        compute__affinity={"nodeAffinity": {}},
    )["spec"]  # fmt: skip
    assert template["nodeSelector"] == {"gpu": "h100"}
    assert template["tolerations"] == [{"key": "gpu", "operator": "Exists"}]
    assert (template["priorityClassName"], template["runtimeClassName"]) == ("urgent", "nvidia")
    assert template["imagePullSecrets"] == [{"name": "registry"}]
    assert template["affinity"] == {"nodeAffinity": {}}


def test_the_patch_is_applied_last_but_cannot_hide_the_pod() -> None:
    template = pod(
        compute__podTemplatePatch={
            "metadata": {"labels": {"team": "icd", "deepicd.io/run": "other"}},
            "spec": {"containers": [{"name": "trainer", "securityContext": {"runAsUser": 7}}]},
        }
    )
    assert template["metadata"]["labels"]["team"] == "icd"
    assert template["metadata"]["labels"]["deepicd.io/run"] == NAME
    context = template["spec"]["containers"][0]["securityContext"]
    assert (context["runAsUser"], context["runAsNonRoot"]) == (7, True)


def test_pods_may_reach_names_the_api_server_and_the_store() -> None:
    policy = made("NetworkPolicy", storage={"s3": {"bucket": "models", "endpoint": "http://store.svc:8333"}})["spec"]
    assert policy["ingress"] == []
    ports = [port["port"] for rule in policy["egress"] for port in rule["ports"]]
    assert ports == [53, 53, 443, 6443, 8333]
    silent = attempt_objects(request(settings=Settings(network_policy=False)))
    assert "NetworkPolicy" not in [each["kind"] for each in silent]


JUDGE: dict[str, Any] = {"endpoint": "http://judge.models.svc:8000/v1", "name": "judge"}


def test_pods_may_reach_the_judge() -> None:
    policy = made("NetworkPolicy", reward={"weights": {"judge": 0.1}, "judge": JUDGE})["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8000]


MLFLOW: dict[str, Any] = {"mlflow": {"uri": "http://mlflow.tracking.svc:5000/team", "experiment": "coding", "secret": "mlflow"}}


def test_pods_may_reach_mlflow() -> None:
    policy = made("NetworkPolicy", tracking=MLFLOW)["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 5000, 6443]


def test_mlflows_credentials_come_from_those_keys_that_its_secret_has() -> None:
    found = {
        each["name"]: each["valueFrom"]["secretKeyRef"] for each in trainer(tracking=MLFLOW)["env"] if "MLFLOW" in each["name"]
    }
    names = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
    assert found == {name: {"name": "mlflow", "key": name, "optional": True} for name in names}


def test_the_judges_key_comes_from_its_secret() -> None:
    found = trainer(reward={"weights": {"judge": 0.1}, "judge": {**JUDGE, "apiKey": {"secret": "judge-key"}}})["env"]
    key = next(each for each in found if each["name"] == "DEEPICD_JUDGE_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "judge-key", "key": "apiKey"}


def test_a_second_judge_may_be_reached_with_its_key() -> None:
    second = {"endpoint": "http://second.models.svc:8002/v1", "name": "second", "apiKey": {"secret": "second-key"}}
    reward = {"weights": {"judge": 0.1}, "judge": {**JUDGE, "second": second}}
    policy = made("NetworkPolicy", reward=reward)["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8000, 8002]
    key = next(each for each in trainer(reward=reward)["env"] if each["name"] == "DEEPICD_SECOND_JUDGE_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "second-key", "key": "apiKey"}


def test_a_judge_with_a_server_of_its_own_gets_gpus_of_its_own() -> None:
    judge = {"model": "/models/judge", "gpus": 2}
    container = trainer(reward={"weights": {"judge": 0.1}, "judge": judge}, compute__gpus=1)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "3"
    assert trainer(compute__gpus=1)["resources"]["limits"]["nvidia.com/gpu"] == "1"


TEACHER: dict[str, Any] = {"endpoint": "http://teacher.models.svc:8001/v1", "name": "teacher"}


def test_pods_may_reach_the_teacher() -> None:
    policy = made("NetworkPolicy", stages__distill={"teacher": TEACHER})["spec"]
    assert [port["port"] for rule in policy["egress"] for port in rule["ports"]] == [53, 53, 443, 6443, 8001]


def test_the_teachers_key_comes_from_its_secret() -> None:
    found = trainer(stages__distill={"teacher": {**TEACHER, "apiKey": {"secret": "teacher-key"}}})["env"]
    key = next(each for each in found if each["name"] == "DEEPICD_TEACHER_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "teacher-key", "key": "apiKey"}
    assert not [each for each in found if each["name"] == "DEEPICD_JUDGE_API_KEY"]


SEVERAL: dict[str, Any] = {
    "compute__nodes": 3,
    "compute__scratch": {"size": "50Gi", "storageClass": "shared"},
    "stages__grpo__microBatchSizePerGpu": 8,
    "stages__grpo__ppoMiniBatchSize": 6,
    "stages__grpo__trainBatchSize": 6,
}


def ray_nodes(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pod templates of head and workers."""
    cluster = made("RayJob", **{**SEVERAL, **changes})["spec"]["rayClusterSpec"]
    return cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]


def test_several_nodes_make_a_ray_job_with_gpus_on_every_node() -> None:
    spec = made("RayJob", **SEVERAL, compute__gpuResource="example.org/half-gpu", compute__cpu=8)["spec"]
    head, workers = spec["rayClusterSpec"]["headGroupSpec"], spec["rayClusterSpec"]["workerGroupSpecs"][0]
    assert (workers["replicas"], spec["backoffLimit"], spec["submissionMode"]) == (2, 0, "HTTPMode")
    for group in (head, workers):
        assert group["template"]["spec"]["containers"][0]["resources"]["limits"]["example.org/half-gpu"] == "1"
        # KubeRay could not derive verl's requests to Ray from a resource of that name or from 8 cores.
        assert (group["rayStartParams"]["num-gpus"], group["rayStartParams"]["num-cpus"]) == ("1", "20")


def test_ray_runs_the_command_and_deepicd_run_uploads() -> None:
    spec = made("RayJob", **SEVERAL)["spec"]
    assert "exec deepicd run /etc/deepicd/run.yaml --dir /scratch/run --json" in spec["entrypoint"]
    for template in ray_nodes():
        assert "command" not in template["spec"]["containers"][0]
        assert "initContainers" not in template["spec"]
        assert "DEEPICD_SIDECAR" not in [each["name"] for each in template["spec"]["containers"][0]["env"]]


def test_a_command_that_is_submitted_twice_runs_once(tmp_path: Path) -> None:
    entrypoint: str = made("RayJob", **SEVERAL)["spec"]["entrypoint"]
    command = (
        entrypoint.replace("/scratch/run", str(tmp_path / "run")).replace("deepicd run", "echo").replace("/proc/1/fd/1", "ran")
    )
    results = [subprocess.run(command, shell=True, cwd=tmp_path, check=False).returncode for _ in range(2)]
    assert (results[0], results[1] != 0) == (0, True)
    assert (tmp_path / "ran").read_text().count("\n") == 1


def test_all_nodes_share_one_volume_and_each_has_its_own_temporary_one() -> None:
    claim = made("PersistentVolumeClaim", **SEVERAL)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"
    for template in ray_nodes():
        volumes = {each["name"]: each for each in template["spec"]["volumes"]}
        assert volumes["scratch"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
        mounted = {each["mountPath"]: each["name"] for each in template["spec"]["containers"][0]["volumeMounts"]}
        assert (mounted["/scratch"], mounted["/tmp"]) == ("scratch", "temporary")
        assert volumes["temporary"] == {"name": "temporary", "emptyDir": {}}


def test_a_claim_is_created_before_the_pod_and_belongs_to_the_run() -> None:
    before, _ = starting_objects(request(compute__scratch={"storageClass": "fast"}))
    (claim,) = (each for each in before if each["kind"] == "PersistentVolumeClaim")
    assert (claim["spec"]["accessModes"], claim["spec"]["storageClassName"]) == (["ReadWriteOnce"], "fast")
    (owner,) = claim["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("DeepICDRun", UID)


def test_without_a_storage_class_there_is_no_claim() -> None:
    assert "PersistentVolumeClaim" not in [each["kind"] for each in attempt_objects(request())]


def test_a_pod_is_known_by_the_uid_of_its_run() -> None:
    patch = {"metadata": {"labels": {"deepicd.io/run-uid": "another"}}}
    assert pod(compute__podTemplatePatch=patch)["metadata"]["labels"]["deepicd.io/run-uid"] == UID


def test_a_builder_that_fails_names_the_field_that_it_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: AttemptRequest) -> dict[str, Any]:
        raise TypeError("no list")

    monkeypatch.setattr(resources, "job", fails)
    with pytest.raises(CannotPlanError, match=r"^spec\.compute\.podTemplatePatch: TypeError: no list$"):
        starting_objects(request(compute__podTemplatePatch={"metadata": {"labels": {"a": "b"}}}))


def test_a_running_attempt_is_repaired_with_all_objects_but_its_job() -> None:
    asked = request()
    kinds = [each["kind"] for group in supporting_objects(asked) for each in group]
    assert kinds == ["ServiceAccount", "NetworkPolicy", "Role", "RoleBinding", "ConfigMap"]


def test_every_node_waits_for_training_to_leave_before_it_ends() -> None:
    for template in ray_nodes():
        hook = template["spec"]["containers"][0]["lifecycle"]["preStop"]
        assert hook["exec"]["command"] == ["python", "-m", "deepicd.kubernetes.pre_stop"]


def test_a_worker_that_waits_for_the_head_can_be_stopped() -> None:
    head, worker = (template["spec"] for template in ray_nodes())
    assert worker["shareProcessNamespace"] is True
    assert "shareProcessNamespace" not in head  # the command writes to the output of process 1


def test_probes_of_the_patch_stay() -> None:
    probe = {"tcpSocket": {"port": 1}}
    patch = {"spec": {"containers": [{"name": "trainer", "livenessProbe": probe}]}}
    for template in ray_nodes(compute__podTemplatePatch=patch):
        assert template["spec"]["containers"][0]["livenessProbe"] == probe
        assert template["spec"]["containers"][0]["readinessProbe"]["httpGet"]["path"] == "/api/healthz"


def test_only_kuberay_may_reach_the_heads_dashboard() -> None:
    own, kuberay = made("NetworkPolicy", **SEVERAL)["spec"]["ingress"]
    assert own == {"from": [{"podSelector": {"matchLabels": {"deepicd.io/run": NAME}}}]}
    assert kuberay["ports"] == [{"protocol": "TCP", "port": 8265}]
    (peer,) = kuberay["from"]
    assert peer["podSelector"]["matchLabels"] == {"app.kubernetes.io/component": "kuberay-operator"}
    assert peer["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "kuberay-system"}


def test_kuberays_namespace_is_the_one_that_is_given() -> None:
    objects = attempt_objects(request(settings=Settings(kuberay_namespace="ray"), **SEVERAL))
    policy = next(each for each in objects if each["kind"] == "NetworkPolicy")
    selector = policy["spec"]["ingress"][1]["from"][0]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "ray"}}


@pytest.mark.parametrize(
    ("server", "ports"),
    [
        ("https://10.96.0.1:443", (443, 6443)), ("https://cluster.example:16443", (443, 6443, 16443)),
        ("https://cluster.example", (443, 6443)), ("https://[fd00::1]:8443", (443, 6443, 8443)),
        # A tunnel that ends on the operator's machine.
        ("https://127.0.0.1:38721", (443, 6443)), ("https://[::1]:38721", (443, 6443)), ("https://localhost:1", (443, 6443)),
    ],
)  # fmt: skip
def test_the_port_that_the_operator_itself_uses_is_open_to_pods(server: str, ports: tuple[int, ...]) -> None:
    assert Settings().with_port_of(server).api_server_ports == ports


def test_builders_do_not_change_shared_data() -> None:
    first = attempt_objects(request())
    before = copy.deepcopy(first)
    job = next(each for each in first if each["kind"] == "Job")
    job["spec"]["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"] = 0
    assert attempt_objects(request()) == before
