"""Real pods, real verl and vLLM: runs from `kubectl apply` to verified artefacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.kind.conftest import SYSTEM
from tests.kind.kind_cluster import KindCluster, wait_for
from tests.kind.runs import COMPUTE, RESEARCH, STORE_KEYS, Run, Start, four_gpu_run, readme_commands, small_run


@pytest.mark.timeout(1800)
def test_the_readmes_commands_train_a_model_on_four_gpus_and_fetch_it(kind: KindCluster, tmp_path: Path) -> None:
    run = Run(kind, "deepicd-r1-7b")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(four_gpu_run(run.name, kind.endpoint)))
    install, *commands = readme_commands("## On a cluster")
    assert install.startswith("helm install ")  # the fixture's
    printed = {command: kind.shell(command, tmp_path, STORE_KEYS, seconds=1600) for command in commands}
    for stage in ("sft", "grpo", "evaluate"):
        assert stage in printed[f"deepicd wait {run.name} && deepicd artifacts get {run.name} --dir out/"]
    assert_four_gpus_trained(kind, run)
    verified = kind.shell(f"deepicd artifacts verify {run.name}", tmp_path, STORE_KEYS)
    assert verified.count("whole") >= 5
    out = tmp_path / "out"
    assert list(out.rglob("report.html"))
    assert list(json.loads(next(out.rglob("metrics.json")).read_text())) == ["base", "sft", "grpo"]
    (model,) = (path.parent for path in out.rglob("config.json"))
    note = json.dumps({"id": "1", "note": "CHIEF COMPLAINT: chest pain"})
    predicted = kind.deepicd("predict", "--model", str(model), "--max-response-tokens", "16", text=note)
    assert predicted.returncode == 0, predicted.stderr
    assert {"id", "code"} <= set(json.loads(predicted.stdout))
    run.delete()


def assert_four_gpus_trained(kind: KindCluster, run: Run) -> None:
    """One Job with one pod that asked for four devices; each of four ranks has written its shard."""
    status = run.status()
    assert (status["state"], len(status["attempts"]), status["attempts"][0]["reason"]) == ("Succeeded", 1, "Completed")
    assert run.verified("grpo") == 2
    assert set(status["metrics"]) == {"chapter", "category", "code"}
    ranks = {file["path"] for file in run.manifest()["files"] if "model_world_size_4_rank_" in file["path"]}
    assert len(ranks) == 4
    (trainer,) = kind.get("pod", run.pod(1), RESEARCH)["spec"]["containers"]
    assert trainer["resources"]["limits"]["nvidia.com/gpu"] == "4"
    made = {each for each in run.objects() if each.startswith(("job", "pod"))}
    assert made == {f"pod/{run.pod(1)}", f"job.batch/{run.name}-a1"}


@pytest.mark.timeout(900)
def test_helm_test_trains_a_tiny_model(kind: KindCluster) -> None:
    kind.must("helm", "test", "deepicd", "--namespace", SYSTEM, "--timeout", "10m", seconds=700)
    assert kind.kubectl("get", "deepicdruns", "-n", SYSTEM, "-o", "name") == ""


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("secret", "missing"), [("absent", "absent"), ("other-keys", "AWS_ACCESS_KEY_ID")])
def test_a_secret_that_lacks_is_named_and_waited_for(kind: KindCluster, start: Start, secret: str, missing: str) -> None:
    name = {"name": "other-keys", "namespace": RESEARCH}
    kind.apply({"apiVersion": "v1", "kind": "Secret", "metadata": name, "stringData": {"other": "x"}})
    content = small_run("no-secret", kind.endpoint)
    content["spec"]["storage"]["s3"]["credentials"]["secretName"] = secret
    run = start(content)
    wait_for(lambda: run.reason() == "VolumeMissing", 120, "the run does not say which volume is missing")
    described = kind.kubectl("describe", "deepicdrun", run.name, "-n", RESEARCH)
    assert "storage.s3.credentials.secretName" in described
    assert missing in described


@pytest.mark.timeout(600)
def test_an_image_that_does_not_exist_is_waited_for(kind: KindCluster, start: Start) -> None:
    run = start(small_run("no-image", kind.endpoint, compute={**COMPUTE, "image": "deepicd/absent:0"}))
    wait_for(lambda: run.reason() == "ImagePullFailed", 120, "the run does not say that its image cannot be pulled")
    described = kind.kubectl("describe", "deepicdrun", run.name, "-n", RESEARCH).splitlines()
    # In one line: the spec, which is printed as well, has the image's name too.
    assert [line for line in described if "deepicd/absent:0" in line and "compute.image" in line], described


@pytest.mark.timeout(600)
def test_a_secret_key_that_the_store_refuses_ends_the_run(kind: KindCluster, start: Start) -> None:
    name = {"name": "wrong-keys", "namespace": RESEARCH}
    keys = {**STORE_KEYS, "AWS_SECRET_ACCESS_KEY": "wrong"}
    kind.apply({"apiVersion": "v1", "kind": "Secret", "metadata": name, "stringData": keys})
    content = small_run("wrong-secret", kind.endpoint)
    content["spec"]["storage"]["s3"]["credentials"]["secretName"] = "wrong-keys"
    run = start(content)
    wait_for(lambda: run.status().get("state") == "Failed", 240, "the run does not fail")
    assert (run.attempts()[-1]["reason"], run.attempts()[-1]["exitCode"]) == ("BadInput", 64)
    assert "wrong" not in json.dumps(run.status()["attempts"]).replace("wrong-", "")


@pytest.mark.timeout(600)
def test_a_container_out_of_memory_is_told_and_retried(kind: KindCluster, start: Start) -> None:
    content = small_run("too-little", kind.endpoint, compute={**COMPUTE, "memory": "700Mi", "sharedMemory": "64Mi"})
    content["spec"]["recovery"]["maxAttempts"] = 2
    run = start(content)
    wait_for(lambda: run.status().get("state") == "Failed", 400, "the run does not fail")
    assert [each["reason"] for each in run.attempts()] == ["OutOfMemory", "OutOfMemory"]
    assert run.reason() == "AttemptsExhausted"
    assert "compute.memory" in run.attempts()[-1]["message"]
