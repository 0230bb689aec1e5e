from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.errors import UserError
from deepicd.spec.load import UnknownFieldError, dump, json_schema, load, parse, read_yaml

SAMPLES = sorted((Path(__file__).parents[3] / "manifests" / "samples").glob("*.yaml"))


def quickstart(**changes: Any) -> dict[str, Any]:
    """The quickstart's content, with values set by dotted path (dots as double underscores)."""
    content: dict[str, Any] = yaml.safe_load(next(path for path in SAMPLES if path.stem == "quickstart").read_text())
    for dotted, value in changes.items():
        *parents, last = dotted.split("__")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
    return content


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_every_sample_is_valid(path: Path) -> None:
    assert load(path).metadata.name == path.stem


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_dumped_run_is_the_same_run(path: Path) -> None:
    run = load(path)
    assert parse(yaml.safe_load(dump(run)), "dump") == run


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec__stages__grpo__learningRat": 1}, "spec.stages.grpo: unknown field 'learningRat': did you mean 'learningRate'?"),
        ({"spec__recovery": {"stallAfter": 30}}, "spec.recovery.stallAfter: a duration is a whole number and a unit"),
        ({"spec__recovery": {"stallAfter": "0m"}}, "spec.recovery.stallAfter: must be more than 0"),
        ({"spec__recovery": {"idleAfter": "0s"}}, "spec.recovery.idleAfter: must be more than 0"),
        ({"spec__recovery": {"deadline": "0h"}}, "spec.recovery.deadline: must be more than 0"),
        ({"spec__recovery": {"stallAfter": "30 min"}}, 'got "30 min"'),
        ({"spec__stages__grpo__rollouts": 1}, "spec.stages.grpo.rollouts: must be at least 2 (got 1)"),
        ({"spec__stages__grpo__maxSteps": True}, "spec.stages.grpo.maxSteps: must be a whole number (got true)"),
        ({"spec__stages__sft__learningRate": True}, "spec.stages.sft.learningRate: must be a number (got true)"),
        ({"spec__stages__grpo__microBatchSizePerGpu": 5}, "(got ppoMiniBatchSize 8, rollouts 8, microBatchSizePerGpu 5)"),
        ({"spec__stages__grpo__maxTokensPerGpu": 99}, "spec.stages.grpo.maxTokensPerGpu: is less than one prompt with its"),
        ({"spec__stages__sft__maxTokensPerGpu": 99}, "spec.stages.sft.maxTokensPerGpu: is less than one example, maxTokens"),
        ({"spec__model": {}}, "spec.model: give exactly one of path, tiny"),
        ({"spec__model": {"tiny": {"hiddenSize": 288, "heads": 1}}}, "spec.model.tiny.heads: does not divide hiddenSize"),
        ({"spec__data": {}}, "spec.data: give exactly one of mimic, notes, synthetic, prepared"),
        ({"spec__data": {"notes": {"file": "a"}, "prepared": "/b"}}, "give exactly one of mimic, notes, synthetic, prepared"),
        ({"spec__data": {"notes": {}}}, "spec.data.notes: give exactly one of file, files"),
        ({"spec__data": {"notes": {"file": "a", "files": ["b"]}}}, "spec.data.notes: give exactly one of file, files"),
        ({"spec__data": {"notes": {"file": ["a", "b"]}}}, "spec.data.notes.file: is a list: write files: […] instead"),
        ({"spec__data": {"notes": {"files": []}}}, "spec.data.notes.files: "),
        ({"spec__data": {"notes": {"file": ""}}}, "spec.data.notes.file: "),
        ({"spec__data": {"notes": {"file": "a", "sections": "all"}}}, "spec.data.notes.sections: "),
        ({"spec__data": {"notes": {"file": "a", "columns": {"pateint_id": "mrn"}}}}, "did you mean 'patient_id'?"),
        ({"spec__data": {"notes": {"file": "a", "columns": {"x": "y"}}}}, "unknown column 'x': the columns are id, patient_id"),
        ({"spec__data": {"notes": {"file": "a"}}}, "stages.sft needs reasoning traces: give data.traces"),
        ({"spec__data": {"prepared": "/data"}}, "stages.sft needs reasoning traces: give data.traces"),
        ({"spec__stages": {"evaluate": None}}, "spec.stages: no stage is given"),
        ({"spec__reward": {"preset": "deepicd-r1", "weights": {"outcome": 1}}}, "the preset 'deepicd-r1' has fixed weights"),
        ({"metadata__name": "Not A Name"}, "metadata.name: "),
        ({"kind": "Pod"}, "kind: "),
        ({"spec__compute": {"gpus": 3}}, "compute.gpus 3)"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_field(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse(quickstart(**changes), "run.yaml")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"spec__data": {"prepared": "/data", "traces": "/traces.jsonl"}},
        {"spec__data": {"notes": {"file": "notes.csv", "columns": {"patient_id": "mrn"}}, "traces": "/traces.jsonl"}},
        {"spec__reward": {"preset": "deepicd-r1"}},
        {"spec__model": {"tiny": {"hiddenSize": 320, "heads": 4}}},
        {"spec__stages": {"grpo": {}, "evaluate": None}},
    ],
)  # fmt: skip
def test_defaults_that_do_not_apply_may_be_written_out(changes: dict[str, Any]) -> None:
    run = parse(quickstart(**changes), "run.yaml")
    assert parse(yaml.safe_load(dump(run)), "dump") == run


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere\.yaml: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_text_that_is_no_yaml_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("kind: DeepICDRun\nspec: [unclosed\n")
    with pytest.raises(UserError, match=r"run\.yaml: line 3 is not YAML"):
        load(path)


def test_a_key_that_is_given_twice_is_refused_with_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("kind: DeepICDRun\nspec:\n  seed: 1\n  model: {}\n  seed: 2\n")
    with pytest.raises(UserError, match=r"run\.yaml: line 5: 'seed' is given twice, first in line 3: keep one of them"):
        load(path)


def test_merged_keys_may_be_given_again(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_text("a: &a {x: 1, y: 2}\nb: {<<: *a, x: 3}\nc: {<<: *a, x: 4}\n")
    assert read_yaml(path) == {"a": {"x": 1, "y": 2}, "b": {"x": 3, "y": 2}, "c": {"x": 4, "y": 2}}


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_a_file_that_is_no_mapping_is_refused(content: Any) -> None:
    with pytest.raises(UserError, match=r"start with .apiVersion"):
        parse(content, "run.yaml")


def described(schema: dict[str, Any]) -> list[str]:
    """Names of fields in a JSON Schema that lack a description."""
    models = [schema, *schema["$defs"].values()]
    return [
        f"{model.get('title')}.{name}"
        for model in models
        for name, field in model.get("properties", {}).items()
        if not field.get("description")
    ]


def test_every_field_has_a_description() -> None:
    assert described(json_schema()) == []


def test_defaults_of_the_schema_are_written_as_in_run_yaml() -> None:
    broken = []

    def look(part: Any, place: str) -> None:
        if not isinstance(part, dict):
            return
        if "pattern" in part and part.get("default") is not None and not re.search(part["pattern"], str(part["default"])):
            broken.append((place, part["default"]))
        for name, inner in part.items():
            look(inner, f"{place}/{name}")

    look(json_schema(), "")
    assert broken == []
    assert json_schema()["$defs"]["ComputeSpec"]["properties"]["sharedMemory"]["default"] == "16Gi"


def test_an_unknown_field_has_its_own_error() -> None:
    with pytest.raises(UnknownFieldError, match=r"spec: unknown field .inventedLater."):
        parse(quickstart(spec__inventedLater=1), "run.yaml")
