"""What a run reads, looked at before it starts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy
import pytest
from huggingface_hub import constants
from safetensors.numpy import save_file

from deepicd.data.synthetic import write_tables
from deepicd.errors import UserError
from deepicd.run.inputs import Findings, look
from deepicd.spec.data import SyntheticSource
from deepicd.spec.load import parse
from deepicd.spec.run import DeepICDRun

NOTE = {"id": "a1", "patient_id": "p1", "note": "zebracanary", "code": "M51.16"}


def run_of(data: dict[str, Any], **spec: Any) -> DeepICDRun:
    content = {"model": {"tiny": {}}, "data": data, "stages": {"sft": {}} if "traces" in data else {"evaluate": {}}}
    head = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"}}
    return parse({**head, "spec": {**content, **spec}}, "run.yaml")


def looked(data: dict[str, Any], **spec: Any) -> Findings:
    return look(run_of(data, **spec))


def notes(folder: Path, **changes: str) -> dict[str, Any]:
    row = {changes.get(f"{name}_column", name): changes.get(name, value) for name, value in NOTE.items()}
    with (folder / "notes.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        writer.writeheader()
        writer.writerow(row)
    return {"notes": {"file": str(folder / "notes.csv"), "sections": "none"}}


def traces(folder: Path, *lines: str) -> str:
    path = folder / "traces.jsonl"
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


def only(found: Findings) -> str:
    (problem,) = found.problems
    assert "zebracanary" not in problem
    assert found.in_files
    return problem


def test_nothing_is_found_in_a_run_that_can_start(tmp_path: Path) -> None:
    data = notes(tmp_path) | {"traces": traces(tmp_path, json.dumps({"id": "a1", "trace": "x"}))}
    assert looked(data) == Findings()


def test_every_missing_file_is_named_with_its_field(tmp_path: Path) -> None:
    tables = {"hosp": str(tmp_path / "hosp"), "note": str(tmp_path / "note")}
    storage = {"s3": {"bucket": "abc", "caBundle": "/none.pem", "credentials": {"secretFolder": "/none"}}}
    found = looked({"mimic": tables, "traces": str(tmp_path / "none.jsonl")}, storage=storage)
    assert [problem.partition(": ")[0] for problem in found.problems] == [
        "spec.data.mimic.hosp", "spec.data.mimic.note", "spec.data.traces", "spec.storage.s3.caBundle",
    ]  # fmt: skip


def test_a_second_judge_in_the_folder_of_the_first_is_named_by_whatever_path(tmp_path: Path) -> None:
    (tmp_path / "judge").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "judge")
    judge = {"model": str(tmp_path / "judge"), "second": {"model": str(tmp_path / "link")}}
    found = only(looked(notes(tmp_path), reward={"weights": {"judge": 0.1}, "judge": judge}))
    assert found.startswith(f"spec.reward.judge.second.model: {tmp_path / 'link'} is the folder of the judge itself")


def test_tables_are_looked_at_as_far_as_their_headers(tmp_path: Path) -> None:
    write_tables(SyntheticSource(admissions=5, codes=2), tmp_path)
    data = {"mimic": {"hosp": str(tmp_path / "hosp"), "note": str(tmp_path / "note")}}
    assert looked(data).problems == []
    for path in (tmp_path / "hosp").glob("patients.*"):
        path.unlink()
    assert "table patients is missing" in only(looked(data))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"note_column": "Note"}, "(note: Note)"),
        ({"id": "2.27E+07"}, "row 2: column id is in scientific notation"),
        ({"id": "a b"}, "row 2: column id has characters other"),
    ],
)
def test_the_first_rows_of_notes_are_read(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    assert says in only(looked(notes(tmp_path, **changes)))


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "is empty"),
        (['{"id": 1, "Trace": "zebracanary"}'], "line 1: unknown field 'Trace': did you mean 'trace'?"),
        (['{"id": "2.27E+07", "trace": "zebracanary"}'], "line 1: id: is in scientific notation"),
        (['{"id": 1, "trace": "x"}', "zebracanary"], "line 2: is not JSON"),
    ],
)
def test_the_first_traces_are_read(tmp_path: Path, lines: list[str], says: str) -> None:
    assert says in only(looked(notes(tmp_path) | {"traces": traces(tmp_path, *lines)}))


def test_a_prepared_folder_has_three_splits(tmp_path: Path) -> None:
    assert "train.parquet: missing" in only(looked({"prepared": str(tmp_path)}))


def test_a_models_folder_is_looked_at(tmp_path: Path) -> None:
    model = {"model": {"path": str(tmp_path)}, "stages": {"grpo": {}}}
    assert "it needs config.json" in only(looked(notes(tmp_path), **model))
    for name in ("tokenizer.json", "model.safetensors"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "config.json").write_text("[]")
    assert "config.json is damaged" in only(looked(notes(tmp_path), **model))
    (tmp_path / "config.json").write_text('{"tie_word_embeddings": true}')
    assert looked(notes(tmp_path), **model) == Findings()


@pytest.mark.parametrize(
    ("targets", "says"),
    [
        (
            ["q_proj", "up_prj"],
            "spec.model.lora.targetModules[1]: the model has no linear layer 'up_prj': did you mean 'up_proj'?",
        ),
        (["norm"], "spec.model.lora.targetModules[0]: the model has no linear layer 'norm': give some of q_proj, up_proj"),
        (["up_proj"], ""),
    ],
)
def test_adapters_are_for_layers_that_the_model_has(targets: list[str], says: str, tmp_path: Path) -> None:
    for name in ("tokenizer.json", "config.json"):
        (tmp_path / name).write_text("{}")
    shapes = {"a.q_proj.weight": (4, 4), "a.up_proj.weight": (8, 4), "norm.weight": (4,), "lm_head.weight": (9, 4)}
    save_file({name: numpy.zeros(shape, "float32") for name, shape in shapes.items()}, tmp_path / "model.safetensors")
    model = {"model": {"path": str(tmp_path), "lora": {"targetModules": targets}}, "stages": {"grpo": {}}}
    assert looked(notes(tmp_path), **model).problems == ([says] if says else [])


def test_adapters_of_a_tiny_model_are_for_its_layers(tmp_path: Path) -> None:
    model = {"model": {"tiny": {}, "lora": {"targetModules": ["qproj"]}}, "stages": {"grpo": {}}}
    (problem,) = looked(notes(tmp_path), **model).problems
    assert problem.endswith("the model has no linear layer 'qproj': did you mean 'q_proj'?")


def test_a_model_that_may_be_downloaded_is_a_warning_and_a_problem_without_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    found = looked(notes(tmp_path), model={"path": "nobody/nothing"})
    assert found.problems == []
    assert "will download it" in found.warnings[0]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in only(looked(notes(tmp_path), model={"path": "nobody/nothing"}))


def test_a_model_in_the_cache_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, local_files_only: str(tmp_path / name))
    (tmp_path / "me" / "model").mkdir(parents=True)
    assert "'me/model' is not a Hugging Face model" in only(looked(notes(tmp_path), model={"path": "me/model"}))


@pytest.mark.parametrize("path", ["/models/qwen", "./qwen", "a/b/c"])
def test_a_path_that_can_be_no_name_is_a_missing_folder(tmp_path: Path, path: str) -> None:
    assert f"spec.model.path: no folder {path}" in only(looked(notes(tmp_path), model={"path": path}))


def test_paths_and_overrides_are_looked_at_on_request_only(tmp_path: Path) -> None:
    head = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"}}
    spec = {"model": {"tiny": {}}, "data": {"prepared": "/none"}, "stages": {"grpo": {"overrides": ["nothing=1"]}}}
    run = parse({**head, "spec": spec}, "run.yaml")
    assert len(look(run).problems) == 2
    assert look(run, paths=False, verl=False) == Findings()
    with pytest.raises(UserError, match=r"overrides\[0\].*; .*train.parquet: missing"):
        look(run).raise_any()


def test_the_models_and_the_encoder_of_the_evaluation_are_looked_for(tmp_path: Path) -> None:
    evaluate = {"models": {"other": {"path": str(tmp_path)}}, "encoder": {"path": "/none"}}
    found = looked({"synthetic": {}}, stages={"evaluate": evaluate})
    assert [problem.partition(": ")[0] for problem in found.problems] == [
        "spec.stages.evaluate.models.other.path", "spec.stages.evaluate.encoder.path",
    ]  # fmt: skip


def test_files_of_the_reward_may_be_those_of_a_cluster(tmp_path: Path) -> None:
    judge = {"endpoint": "http://127.0.0.1:9/v1", "name": "x", "rubric": "/on/a/cluster.yaml"}
    terms = {"brevity": {"file": "/on/a/cluster.py", "function": "brevity"}}
    reward = {"terms": terms, "judge": judge, "weights": {"judge": 1}}
    found = looked(notes(tmp_path), reward=reward)
    assert found.in_files
    assert [problem.partition(": ")[0] for problem in found.problems] == [
        "reward.terms.brevity.file", "spec.reward.judge.rubric",
    ]  # fmt: skip
    assert not look(run_of(notes(tmp_path), reward=reward), paths=False).problems
