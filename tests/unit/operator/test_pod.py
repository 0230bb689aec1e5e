from __future__ import annotations

from typing import Any

import pytest

from tests.unit.operator.attempts import JUDGE, MLFLOW, TEACHER, pod, trainer
from tests.unit.operator.builders import NAME, UID


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


def test_the_pod_knows_its_run_and_attempt() -> None:
    environment = {each["name"]: each.get("value") for each in trainer()["env"]}
    assert environment["DEEPICD_RUN_UID"] == UID
    assert environment["DEEPICD_ATTEMPT"] == "1"
    assert environment["DEEPICD_PROGRESS"] == f"{NAME}-a1-progress"


def test_the_trainer_leaves_uploading_to_the_sidecar_if_there_is_one() -> None:
    assert {"name": "DEEPICD_SIDECAR", "value": "1"} in trainer()["env"]
    assert "DEEPICD_SIDECAR" not in {each["name"] for each in trainer(storage=None)["env"]}


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


def test_a_judge_with_a_server_of_its_own_gets_gpus_of_its_own() -> None:
    judge = {"model": "/models/judge", "gpus": 2}
    container = trainer(reward={"weights": {"judge": 0.1}, "judge": judge}, compute__gpus=1)
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "3"
    assert trainer(compute__gpus=1)["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_the_teachers_key_comes_from_its_secret() -> None:
    found = trainer(stages__distill={"teacher": {**TEACHER, "apiKey": {"secret": "teacher-key"}}})["env"]
    key = next(each for each in found if each["name"] == "DEEPICD_TEACHER_API_KEY")
    assert key["valueFrom"]["secretKeyRef"] == {"name": "teacher-key", "key": "apiKey"}
    assert not [each for each in found if each["name"] == "DEEPICD_JUDGE_API_KEY"]
