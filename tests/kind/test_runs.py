"""Real pods, real verl and vLLM: runs from `kubectl apply` to verified artefacts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.kind.kind_cluster import SYSTEM, KindCluster
from tests.kind.runs import RESEARCH, STORE_KEYS, Run, four_gpu_run, readme_commands


@pytest.mark.timeout(1800)
def test_the_readmes_commands_train_a_model_on_four_gpus_and_fetch_it(
    kind: KindCluster, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    run = Run(kind, "deepicd-r1-7b")
    request.addfinalizer(run.delete)
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
def test_helm_test_trains_a_tiny_model(kind: KindCluster, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(lambda: kind.kubectl("delete", "deepicdruns", "--all", "-n", SYSTEM))
    kind.must("helm", "test", "deepicd", "--namespace", SYSTEM, "--timeout", "10m", seconds=700)
    assert kind.kubectl("get", "deepicdruns", "-n", SYSTEM, "-o", "name") == ""
