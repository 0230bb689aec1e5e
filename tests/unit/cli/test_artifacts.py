"""`deepicd artifacts ls`, `get`, `verify`, `prune` and `url`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from deepicd.artifacts.layout import CheckpointRef, ModelRef, manifest_key
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.store.folder import FolderStore
from deepicd.cli.artifacts import app
from deepicd.errors import UserError

ORIGIN = Origin("quickstart", "digest", {"verl": "0.9.1"})
WEIGHTS = "attempts/1/checkpoints/step-000010/actor/model.pt"


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if isinstance(result.exception, Exception):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def outer(tmp_path: Path) -> Path:
    """A store with one run: four checkpoints, a model, results and logs."""
    place = tmp_path / "store"
    store = FolderStore(place / "quickstart" / "0123456789ab")
    for step, reward in ((5, 0.9), (10, 0.5), (15, None), (20, None)):
        folder = tmp_path / "made" / f"global_step_{step}"
        (folder / "actor").mkdir(parents=True)
        (folder / "actor" / "model.pt").write_text(f"weights {step}")
        metrics = None if reward is None else {"reward": reward}
        publish(store, CheckpointRef(1, "grpo", step), folder, ORIGIN, metrics=lambda metrics=metrics: metrics)  # type: ignore[misc]
    publish(store, ModelRef(1, "grpo"), tmp_path / "made" / "global_step_20", ORIGIN)
    measured = {"grpo": {"levels": {"code": {"macroF1": {"value": 0.625}}}}}
    store.write("attempts/1/evaluation/metrics.json", json.dumps(measured).encode())
    store.write("attempts/1/evaluation/report.html", b"<html>")
    store.write("attempts/1/logs/grpo/training.log", b"a line")
    return place


@pytest.fixture
def root(outer: Path) -> Path:
    return outer / "quickstart" / "0123456789ab"


def test_ls_shows_checkpoints_models_metrics_and_reports_within_80_columns(outer: Path) -> None:
    printed = run("ls", "--store", outer)
    for words in ("quickstart/0123456789ab", "grpo (latest)", "grpo model", "0.900", "grpo 0.625", "evaluation/report.html"):
        assert words in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_ls_prints_json(outer: Path) -> None:
    (found,) = json.loads(run("ls", "quickstart", "--store", outer, "--json"))
    assert found["latest"] == "attempts/1/checkpoints/step-000020"
    assert [item["step"] for item in found["committed"]] == [5, 10, 15, 20, None]
    assert found["committed"][0]["metrics"] == {"reward": 0.9}
    assert found["macroF1"] == {"1": {"grpo": 0.625}}


@pytest.mark.parametrize("way", ["address", "name", "name and uid", "spec"])
def test_a_run_is_named_by_its_address_or_within_a_store(
    outer: Path, root: Path, tmp_path: Path, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEEPICD_RUN_UID", "0123456789ab")
    spec = tmp_path / "run.yaml"
    content = {"model": {"path": "m"}, "data": {"prepared": "d"}, "stages": {"grpo": {}}, "storage": {"folder": str(outer)}}
    head = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "quickstart"}}
    spec.write_text(json.dumps({**head, "spec": content}))
    arguments: dict[str, list[Any]] = {
        "address": [root],
        "name": ["quickstart", "--store", outer],
        "name and uid": ["quickstart/0123456789ab", "--store", outer],
        "spec": ["--spec", spec],
    }
    assert json.loads(run("ls", *arguments[way], "--json"))[0]["url"] == str(root)


def test_an_address_without_a_run_is_an_error_of_the_user(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="has no run"):
        run("ls", tmp_path)
    with pytest.raises(UserError, match="RUN: give the address of a run"):
        run("ls")


def test_get_fetches_the_newest_checkpoint(root: Path, tmp_path: Path) -> None:
    printed = run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint").strip()
    assert printed == str(tmp_path / "out" / "global_step_20")
    assert (Path(printed) / "actor" / "model.pt").read_text() == "weights 20"


def test_get_fetches_model_and_results_by_default(root: Path, tmp_path: Path) -> None:
    run("get", root, "--dir", tmp_path / "out")
    assert (tmp_path / "out" / "model-grpo" / "actor" / "model.pt").read_text() == "weights 20"
    assert (tmp_path / "out" / "report.html").read_text() == "<html>"


def test_get_fetches_what_is_named(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("get", root, "--dir", out, "--what", "checkpoint", "--step", 10, "--attempt", 1, "--stage", "grpo")
    run("get", root, "--dir", out, "--what", "model")
    run("get", root, "--dir", out / "results", "--what", "evaluation")
    run("get", root, "--dir", out / "logs", "--what", "logs")
    assert (out / "global_step_10" / "actor" / "model.pt").read_text() == "weights 10"
    assert (out / "model-grpo" / "actor" / "model.pt").read_text() == "weights 20"
    assert (out / "results" / "report.html").read_text() == "<html>"
    assert (out / "logs" / "grpo" / "training.log").read_text() == "a line"


def test_get_puts_the_cards_of_the_newest_evaluation_into_the_models_folder(root: Path, tmp_path: Path) -> None:
    store = FolderStore(root)
    for attempt in (1, 2):
        store.write(f"attempts/{attempt}/evaluation/cards/grpo/README.md", f"card {attempt}".encode())
    store.write("attempts/3/evaluation/cards/sft/README.md", b"another model")
    for _ in range(2):
        printed = run("get", root, "--dir", tmp_path / "out", "--what", "model").split()
        assert printed == [str(tmp_path / "out" / "model-grpo"), str(tmp_path / "out" / "model-grpo" / "README.md")]
        assert (tmp_path / "out" / "model-grpo" / "README.md").read_text() == "card 2"


def test_get_again_accepts_what_exists(root: Path, tmp_path: Path) -> None:
    first = run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint")
    assert run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint") == first


def test_get_does_not_replace_another_folder(root: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out" / "global_step_20" / "mine"
    mine.parent.mkdir(parents=True)
    mine.write_text("x")
    with pytest.raises(UserError, match="exists, and is not attempt 1, grpo step 20"):
        run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint")
    assert mine.read_text() == "x"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--what", "checkpoint", "--step", "11"], "has no checkpoint step 11"),
        (["--what", "everything"], "--what: is 'everything'"),
        (["--what", "model", "--stage", "sft"], "has no model stage sft"),
        (["--what", "logs", "--attempt", "2"], "has no logs attempt 2"),
    ],
)
def test_get_names_what_is_missing(root: Path, tmp_path: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(UserError, match=words):
        run("get", root, "--dir", tmp_path / "out", *arguments)


def test_get_refuses_a_damaged_one_by_name(root: Path, tmp_path: Path) -> None:
    (root / WEIGHTS).write_text("weightz 10")
    with pytest.raises(UserError, match=WEIGHTS):
        run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint", "--step", 10)
    assert not (tmp_path / "out" / "global_step_10").exists()


def test_get_of_several_runs_asks_for_one(outer: Path, tmp_path: Path) -> None:
    FolderStore(outer / "another").write("latest.json", b"{}")
    with pytest.raises(UserError, match="there are 2 runs: give one of"):
        run("get", "--store", outer, "--dir", tmp_path / "out")


def test_a_damaged_one_is_followed_by_what_else_there_is(root: Path, tmp_path: Path) -> None:
    (root / WEIGHTS).write_text("weightz 10")
    with pytest.raises(UserError, match=r"give --attempt 1 --stage grpo --step 20 for another one$"):
        run("get", root, "--dir", tmp_path / "out", "--what", "checkpoint", "--step", 10)
    (model,) = root.glob("attempts/1/models/grpo/**/model.pt")
    model.write_text("weightz 20")
    with pytest.raises(UserError, match=r"no other one is stored: delete .*/attempts/1/models/grpo, and let the run store it"):
        run("get", root, "--dir", tmp_path / "out", "--what", "model")


def test_verify_prune_and_url_print_json(root: Path) -> None:
    (root / WEIGHTS).write_text("weightz 10")
    verified = json.loads(CliRunner().invoke(app, ["verify", str(root), "--json"]).stdout)
    assert [item["damaged"] for item in verified] == [False, True, False, False, False]
    assert WEIGHTS in verified[1]["problem"]
    (proposed,) = json.loads(run("prune", root, "--keep-last", 1, "--json"))
    assert proposed["deleted"] is False
    assert [item["folder"].rpartition("-")[2] for item in proposed["checkpoints"]] == ["000010", "000015"]
    links = json.loads(run("url", root, "--json"))
    assert [*links] == ["attempts/1/evaluation/metrics.json", "attempts/1/evaluation/report.html"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["s3://My_Bucket/x"], "s3://My_Bucket/x: bucket: must be 3 to 63 lower-case letters, digits, '-' and '.'"),
        (["s3://models/x", "--endpoint-url", "s3.example.org"], "--endpoint-url: must be http:// or https://, a host"),
        (["s3://models/x", "--endpoint-url", "http://s3:99999"], "--endpoint-url: is not an address (Port out of range"),
        (["ftp://models/x"], "ftp://models/x: is not the address of a store: write s3://BUCKET/PREFIX or a folder"),
    ],
)
def test_what_is_wrong_in_an_address_is_named(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as error:
        run("ls", *arguments)
    assert str(error.value).startswith(message)


def test_verify_reads_everything_back(root: Path) -> None:
    printed = run("verify", root)
    assert printed.count("whole") == 5


@pytest.mark.parametrize("content", [None, "short", "weightz 10"])
def test_verify_names_what_is_damaged_and_fails(root: Path, content: str | None) -> None:
    if content is None:
        (root / WEIGHTS).unlink()
    else:
        (root / WEIGHTS).write_text(content)
    with pytest.raises(UserError, match=rf"^damaged: .*{WEIGHTS}") as caught:
        run("verify", root)
    assert caught.value.exit_code == 64


def test_prune_shows_and_deletes_only_with_yes(root: Path) -> None:
    store = FolderStore(root)
    store.write("attempts/1/checkpoints/step-000030/actor/model.pt", b"half")
    arguments = ("prune", root, "--keep-last", 1, "--idle", "0s")
    printed = run(*arguments)
    assert "would be deleted" in printed
    assert "grpo step 10" in printed
    assert "1 files of interrupted uploads" in printed
    assert "nothing was deleted: add --yes" in printed
    assert store.read(manifest_key(CheckpointRef(1, "grpo", 10))) is not None
    run(*arguments, "--yes")
    left = [item["folder"].rpartition("/")[2] for item in json.loads(run("ls", root, "--json"))[0]["committed"]]
    assert left == ["step-000005", "step-000020", "grpo"]
    assert store.read("attempts/1/checkpoints/step-000030/actor/model.pt") is None
    assert "nothing to delete" in run(*arguments, "--yes")


def test_prune_leaves_an_upload_in_progress(root: Path) -> None:
    FolderStore(root).write("attempts/1/checkpoints/step-000030/actor/model.pt", b"half")
    run("prune", root, "--yes")
    assert FolderStore(root).read("attempts/1/checkpoints/step-000030/actor/model.pt") is not None


def test_url_prints_a_link_for_each_file(root: Path) -> None:
    lines = [line.split("\t") for line in run("url", root).splitlines()]
    assert [key for key, _ in lines] == ["attempts/1/evaluation/metrics.json", "attempts/1/evaluation/report.html"]
    assert all(link.startswith("file:///") for _, link in lines)
    assert "step-000020/manifest.json" in run("url", root, "--what", "checkpoint")
    with pytest.raises(UserError, match="--expires"):
        run("url", root, "--expires", "soon")
