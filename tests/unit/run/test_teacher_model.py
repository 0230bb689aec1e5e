from __future__ import annotations

import os
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.run.teacher_model import identity_of, teacher_model
from deepicd.run_layout import RunLayout
from deepicd.spec.distill import TeacherSpec


def finish(folder: Path, *models: str) -> None:
    for name in models:
        place = RunLayout(folder).maker(name)
        place.model.mkdir(parents=True)
        (place.model / "config.json").write_text("{}")
        place.completed.write_text("{}")


def test_the_last_trained_model_of_another_run_teaches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    finish(Path("runs/other"), "base", "sft", "grpo")
    finish(Path("elsewhere"), "base", "sft")
    assert teacher_model(TeacherSpec(run="other")) == str(tmp_path / "runs/other/stages/grpo/model")
    assert teacher_model(TeacherSpec(run="elsewhere")) == str(tmp_path / "elsewhere/stages/sft/model")


@pytest.mark.parametrize("models", [(), ("base",)])
def test_a_run_without_a_trained_model_is_no_teacher(models: tuple[str, ...], tmp_path: Path) -> None:
    finish(tmp_path, *models)
    with pytest.raises(UserError, match=r"spec\.stages\.distill\.teacher\.run: .* is not a run with a trained model"):
        teacher_model(TeacherSpec(run=str(tmp_path)))


def test_other_teachers_are_what_they_say() -> None:
    assert teacher_model(TeacherSpec(model="org/name")) == "org/name"
    assert teacher_model(TeacherSpec(endpoint="http://127.0.0.1/v1", name="x")) is None


def test_a_model_that_was_trained_again_has_another_identity(tmp_path: Path) -> None:
    teacher = TeacherSpec(model=str(tmp_path))
    weights = tmp_path / "model.safetensors"
    weights.write_text("one")
    first = identity_of(teacher, str(tmp_path))
    assert identity_of(teacher, str(tmp_path)) == first
    os.utime(weights, ns=(1, 1))
    assert identity_of(teacher, str(tmp_path)) != first


def test_a_model_at_an_endpoint_is_identified_by_its_name_wherever_its_server_is() -> None:
    one = identity_of(TeacherSpec(endpoint="http://127.0.0.1/v1", name="x"), None)
    assert identity_of(TeacherSpec(endpoint="http://127.0.0.1:8001/v1", name="x"), None) == one
    assert identity_of(TeacherSpec(endpoint="http://127.0.0.1/v1", name="y"), None) != one
