"""`spec.stages.evaluate`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.errors import UserError
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.load import load, parse
from tests.unit.spec.test_load import quickstart


def evaluated(**evaluate: Any) -> dict[str, Any]:
    content = quickstart()
    content["spec"]["stages"]["evaluate"] = evaluate
    return content


def settings(**evaluate: Any) -> EvaluateSpec:
    found = parse(evaluated(**evaluate), "run.yaml").spec.stages.evaluate
    assert found is not None
    return found


def test_by_default_only_what_costs_little_is_measured() -> None:
    found = settings()
    assert (found.calibration, found.fairness) == (True, True)
    assert (found.constrained, found.premature_closure, found.models, found.baselines, found.encoder) == (
        False, False, {}, [], None,
    )  # fmt: skip


def test_the_defaults_written_out_are_the_run_without_them() -> None:
    written: dict[str, Any] = {"models": {}, "baselines": [], "encoder": None, "calibration": True, "fairness": True}
    written |= {"constrained": False, "prematureClosure": False}
    assert parse(evaluated(**written), "run.yaml").spec.decisive == parse(evaluated(), "run.yaml").spec.decisive


@pytest.mark.parametrize(
    "changed",
    [{"models": {"released": {"path": "a"}}}, {"baselines": ["tfidf"]}, {"encoder": {"path": "bert"}}, {"calibration": False},
     {"prematureClosure": True}],
)  # fmt: skip
def test_another_value_is_another_run(changed: dict[str, Any]) -> None:
    assert parse(evaluated(**changed), "run.yaml").spec.decisive != parse(evaluated(), "run.yaml").spec.decisive


@pytest.mark.parametrize("name", ["base", "grpo", "tfidf", "encoder"])
def test_no_other_model_has_the_name_of_one_of_the_runs(name: str) -> None:
    with pytest.raises(UserError, match=f"models: '{name}' is the name of a model of every run: give another name"):
        settings(models={name: {"path": "a"}})


@pytest.mark.parametrize("name", ["Released", "a/b", "", "-a", "a" * 41])
def test_a_models_name_is_that_of_a_row(name: str) -> None:
    with pytest.raises(UserError, match="is not a name of a model"):
        settings(models={name: {"path": "a"}})


def test_a_baseline_is_known_and_given_once() -> None:
    with pytest.raises(UserError, match="baselines"):
        settings(baselines=["bayes"])
    with pytest.raises(UserError, match="given twice"):
        settings(baselines=["tfidf", "tfidf"])


def test_the_prompt_file_of_another_model_is_read_with_the_run(tmp_path: Path) -> None:
    (tmp_path / "prompt.yaml").write_text(yaml.safe_dump({"user": "{note} <think> <diagnosis>"}))
    content = evaluated(models={"other": {"path": "a", "prompt": {"file": "prompt.yaml"}}})
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(content))
    found = load(tmp_path / "run.yaml").spec.stages.evaluate
    assert found is not None
    assert found.models["other"].prompt is not None
    assert found.models["other"].prompt.user == "{note} <think> <diagnosis>"
