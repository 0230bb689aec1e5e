"""`model.prompt`, inline and from a file beside run.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.errors import UserError
from deepicd.prompt import DEEPICD, Prompt, of
from deepicd.spec.load import dump, load, parse, read_prompt, read_run
from deepicd.spec.prompt import PromptSpec

USER = "Think in <think>, answer in <diagnosis>.\n{note}"


def content(prompt: Any) -> dict[str, Any]:
    return {
        "apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"},
        "spec": {"model": {"tiny": {}, "prompt": prompt}, "data": {"synthetic": {}}, "stages": {}},
    }  # fmt: skip


def written(folder: Path, prompt: Any) -> Path:
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump(content(prompt)))
    return path


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({}, "give exactly one of preset, file, user"),
        ({"preset": "deepicd", "user": USER}, "give exactly one of preset, file, user"),
        ({"preset": "deepicd", "system": "x"}, "system: goes with user"),
        ({"system": "x"}, "give exactly one of preset, file, user"),
        ({"user": "<think> <diagnosis>"}, "user: must have {note} once"),
        ({"user": USER + "{note}"}, "user: must have {note} once"),
        ({"user": USER, "system": "{note}"}, "system: has {note}"),
        ({"user": "<think> {note}"}, "do not name <diagnosis>"),
        ({"user": "<diagnosis> {note}", "system": "think"}, "do not name <think>"),
        ({"file": "prompt.yaml"}, "file: is read only beside a run.yaml"),
        ({"preset": "deepicd-r2"}, "spec.model.prompt.preset"),
        ({"users": USER}, "did you mean 'user'?"),
    ],
)
def test_what_is_no_prompt_is_refused_with_the_field(prompt: dict[str, str], message: str) -> None:
    with pytest.raises(UserError) as found:
        parse(content(prompt), "run.yaml")
    assert "spec.model.prompt" in str(found.value)
    assert message in str(found.value)


def test_the_tags_may_be_named_in_either_text() -> None:
    prompt = of(parse(content({"system": "<think>", "user": "<diagnosis> {note}"}), "run.yaml").spec.model.prompt)
    assert prompt == Prompt("<diagnosis> {note}", "<think>")


@pytest.mark.parametrize("written", [{}, {"prompt": None}, {"prompt": {"preset": "deepicd"}}])
def test_without_a_prompt_it_is_the_preset(written: dict[str, Any]) -> None:
    run = content(None)
    run["spec"]["model"] = {"tiny": {}} | written
    found = parse(run, "run.yaml").spec.model.prompt
    assert found == PromptSpec(preset="deepicd")
    assert of(found) == DEEPICD


def test_a_file_beside_run_yaml_is_read_with_it_from_wherever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "prompt.yaml").write_text(yaml.safe_dump({"system": "Use <think>.", "user": "<diagnosis> {note}"}))
    monkeypatch.chdir("/")
    run = load(written(tmp_path, {"file": "prompt.yaml"}))
    assert of(run.spec.model.prompt) == Prompt("<diagnosis> {note}", "Use <think>.")


def test_a_run_that_is_written_out_has_the_texts_and_needs_the_file_no_more(tmp_path: Path) -> None:
    (tmp_path / "prompt.yaml").write_text(yaml.safe_dump({"user": USER}))
    run = load(written(tmp_path, {"file": str(tmp_path / "prompt.yaml")}))
    (tmp_path / "prompt.yaml").unlink()
    (tmp_path / "resolved.yaml").write_text(dump(run))
    assert load(tmp_path / "resolved.yaml") == run
    assert of(run.spec.model.prompt) == Prompt(USER)


def test_what_is_submitted_has_the_texts_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "prompt.yaml").write_text(yaml.safe_dump({"user": USER}))
    assert read_run(written(tmp_path, {"file": "prompt.yaml"}))["spec"]["model"]["prompt"] == {"user": USER}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "No such file or directory: give the path of a prompt file"),
        ("just a text with {note}", "user: is missing"),
        ("system: x", "user: is missing"),
        ("user: [1, 2]", "user: must be text"),
        ("user: '<think> <diagnosis>'", "user: must have {note} once"),
        ("user: '<think> <diagnosis> {note}'\nsystems: x", "did you mean 'system'?"),
        ("user: '<think> <diagnosis> {note}'\npreset: deepicd", "give exactly one of"),
    ],
)
def test_a_file_that_is_no_prompt_is_named(text: str | None, message: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "prompt.yaml").write_text(text)
    with pytest.raises(UserError) as found:
        load(written(tmp_path, {"file": "prompt.yaml"}))
    assert str(found.value).startswith(f"{tmp_path}/prompt.yaml: ")
    assert message in str(found.value)


def test_a_file_beside_another_source_is_refused_unread(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="give exactly one of preset, file, user"):
        load(written(tmp_path, {"file": "nowhere.yaml", "preset": "deepicd"}))


def test_a_stored_prompts_texts_are_a_prompt_file(tmp_path: Path) -> None:
    (tmp_path / "prompt.yaml").write_text(f"user: |\n  {USER.splitlines()[0]}\n  {{note}}\n")
    assert read_prompt(tmp_path / "prompt.yaml").user == USER + "\n"
