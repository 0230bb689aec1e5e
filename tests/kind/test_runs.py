"""Real pods, real verl and vLLM: a run from `deepicd submit` to verified artefacts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.kind.conftest import RESEARCH
from tests.kind.kind_cluster import ACCESS_KEY, BUCKET, ROOT, SECRET_KEY, STORE_PORT, KindCluster, wait_for

# Two cores carry the control plane too: a trainer without a limit starves it.
COMPUTE = {
    "gpus": 1, "cpu": 1.0, "cpuLimit": 1.4, "memory": "11Gi", "sharedMemory": "2Gi", "imagePullPolicy": "IfNotPresent",
    "scratch": {"size": "10Gi"},
}  # fmt: skip


def run(name: str, **changes: Any) -> dict[str, Any]:
    """The quickstart with a few steps of each stage, kept in the cluster's store."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "manifests" / "samples" / "quickstart.yaml").read_text())
    spec = content["spec"]
    content["metadata"] = {"name": name, "namespace": RESEARCH}
    spec["stages"]["sft"] |= {"maxSteps": 8, "saveEverySteps": 4}
    spec["stages"]["grpo"] |= {"maxSteps": 3, "saveEverySteps": 1}
    spec["stages"]["evaluate"] = {"maxAdmissions": 16, "samples": 1, "bootstrapSamples": 0}
    spec["compute"] = dict(COMPUTE)
    endpoint = f"http://seaweed.store.svc:{STORE_PORT}"
    spec["storage"] = {
        "s3": {"endpoint": endpoint, "bucket": BUCKET, "prefix": "deepicd", "credentials": {"secretName": "s3-keys"}}
    }
    spec |= changes
    return content


def leftovers(kind: KindCluster, name: str) -> list[str]:
    kinds = "jobs,pods,configmaps,serviceaccounts,roles,rolebindings,networkpolicies"
    return kind.kubectl("get", kinds, "-n", RESEARCH, "-l", f"deepicd.io/run={name}", "-o", "name").split()


@pytest.mark.timeout(2400)
def test_a_run_succeeds_and_its_artefacts_are_verified(kind: KindCluster, tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(yaml.safe_dump(run("night-run")))
    submitted = kind.deepicd("submit", str(file))
    assert submitted.returncode == 0, submitted.stderr
    waited = kind.deepicd("wait", "night-run", "-n", RESEARCH, "--timeout", "35m", seconds=2200)
    assert waited.returncode == 0, waited.stdout + waited.stderr
    for stage in ("sft", "grpo", "evaluate"):
        assert stage in waited.stdout
    status = kind.get("deepicdrun", "night-run", RESEARCH)["status"]
    assert (status["state"], len(status["attempts"]), status["attempts"][0]["reason"]) == ("Succeeded", 1, "Completed")
    assert status["lastVerifiedCheckpoint"]["stage"] == "grpo"
    assert status["lastVerifiedCheckpoint"]["step"] == 3
    assert set(status["metrics"]) == {"chapter", "category", "code"}
    keys = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
    with kind.store() as endpoint:
        place = ("night-run", "-n", RESEARCH, "--endpoint-url", endpoint)
        verified = kind.deepicd("artifacts", "verify", *place, environment=keys)
        assert verified.returncode == 0, verified.stdout + verified.stderr
        assert verified.stdout.count("whole") >= 5
        fetched = kind.deepicd("artifacts", "get", *place, "--dir", str(tmp_path / "out"), environment=keys)
        assert fetched.returncode == 0, fetched.stderr
    assert list((tmp_path / "out").rglob("report.html"))
    metrics = json.loads(next((tmp_path / "out").rglob("metrics.json")).read_text())
    assert list(metrics) == ["base", "sft", "grpo"]


@pytest.mark.timeout(600)
def test_a_secret_that_does_not_exist_is_named_and_waited_for(kind: KindCluster) -> None:
    content = run("no-secret")
    content["spec"]["storage"]["s3"]["credentials"]["secretName"] = "absent"
    kind.apply(content)

    def reason() -> bool:
        status = kind.get("deepicdrun", "no-secret", RESEARCH).get("status") or {}
        return bool(status.get("reason") == "VolumeMissing")

    wait_for(reason, 120, "the run does not say which volume is missing")
    described = kind.kubectl("describe", "deepicdrun", "no-secret", "-n", RESEARCH)
    assert "storage.s3.credentials.secretName" in described
    assert "absent" in described
    kind.kubectl("delete", "deepicdrun", "no-secret", "-n", RESEARCH)
    wait_for(lambda: not leftovers(kind, "no-secret"), 60, "objects of a deleted run are left")


@pytest.mark.timeout(600)
def test_an_image_that_does_not_exist_is_waited_for_and_a_deleted_run_leaves_nothing(kind: KindCluster) -> None:
    kind.apply(run("no-image", compute={**COMPUTE, "image": "deepicd/absent:0"}))

    def reason() -> bool:
        status = kind.get("deepicdrun", "no-image", RESEARCH).get("status") or {}
        return bool(status.get("reason") == "ImagePullFailed")

    assert wait_for(reason, 120, "the run does not say that its image cannot be pulled")
    kind.kubectl("delete", "deepicdrun", "no-image", "-n", RESEARCH)
    wait_for(lambda: not leftovers(kind, "no-image"), 90, "objects of a deleted run are left")
