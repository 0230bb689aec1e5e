from __future__ import annotations

import copy
from typing import Any

import pytest
import yaml

from deepicd.spec.load import parse
from deepicd_operator import resources
from deepicd_operator.resources import (
    AttemptRequest,
    CannotPlanError,
    starting_objects,
    supporting_objects,
)
from tests.unit.operator.attempts import attempt_objects, made, pod, request, trainer
from tests.unit.operator.builders import NAME, UID


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


def test_the_pod_has_run_yaml_as_the_trainer_reads_it() -> None:
    template = pod()
    content = template["metadata"]["annotations"]["deepicd.io/run.yaml"]
    assert parse(yaml.safe_load(content), "annotation").metadata.name == NAME
    volume = next(each for each in template["spec"]["volumes"] if each["name"] == "run")
    assert volume["downwardAPI"]["items"][0]["fieldRef"]["fieldPath"] == "metadata.annotations['deepicd.io/run.yaml']"
    assert trainer()["command"] == ["deepicd", "run", "/etc/deepicd/run.yaml", "--dir", "/scratch/run", "--json"]


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


def test_builders_do_not_change_shared_data() -> None:
    first = attempt_objects(request())
    before = copy.deepcopy(first)
    job = next(each for each in first if each["kind"] == "Job")
    job["spec"]["template"]["spec"]["containers"][0]["securityContext"]["runAsUser"] = 0
    assert attempt_objects(request()) == before
