"""Baselines of a run: in their own process, once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import CrashError, TerminatedError, UserError
from deepicd.evaluation.engine import read_admissions
from deepicd.evaluation.predictions import Prediction
from deepicd.phases import PhaseStart
from deepicd.run import baselines as module
from deepicd.run.baselines import baselines, require, wanted
from deepicd.run.context import Context
from deepicd.run_layout import RunLayout
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.load import parse
from tests.training.runs import prepared_cohort
from tests.unit.stops import NeverStop


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepared_cohort(tmp_path_factory.mktemp("cohort"))


@pytest.fixture
def reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of scikit-learn, wherever the tests have it."""
    import sklearn

    monkeypatch.setattr(module, "FOLDER", Path(sklearn.__file__).parents[1])


@pytest.fixture
def phases() -> list[str]:
    return []


@pytest.fixture
def context(cohort: Path, tmp_path: Path, phases: list[str], reference: None) -> Context:
    content = {
        "apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "run"},
        "spec": {"model": {"tiny": {}}, "data": {"prepared": str(cohort)}, "stages": {"evaluate": {}}},
    }  # fmt: skip

    def note(start: PhaseStart) -> None:
        phases.append(str(start))

    return Context(parse(content, "run.yaml"), RunLayout(tmp_path / "run"), NeverStop(), lambda *_: None, note)


def asked(cohort: Path, limit: int | None = None) -> list[Prediction]:
    rows = read_admissions(cohort / "test.parquet", limit)
    return [
        Prediction(row["id"], row["subject_id"], row["code"], None, ("no_diagnosis",), 0.5, samples=(None,)) for row in rows
    ]


def test_baselines_stand_beside_the_models_for_the_same_admissions(context: Context, cohort: Path) -> None:
    like = asked(cohort, 20)
    settings = EvaluateSpec(baselines=["majority", "tfidf"], max_admissions=20)
    found = baselines(context, settings, like)
    assert list(found) == ["majority", "tfidf"]
    for records in found.values():
        assert [record.id for record in records] == [record.id for record in like]
        assert all((one.faults, one.reward, one.samples) == (None, None, None) and one.prediction for one in records)
        assert all(set(one.confidence) == {"chapter", "category", "code"} for one in records)
    right = {name: sum(one.prediction == one.gold for one in records) for name, records in found.items()}
    assert right["tfidf"] > right["majority"]
    # What is left are codes, probabilities and settings, and no text of a note.
    place = context.layout.stage("evaluate")
    content = json.loads((place.baselines / "tfidf.json").read_text())
    assert set(content) == {"codes", "confidence", "settings"}
    assert set(content["settings"]) == {"alpha", "classWeight", "validationMacroF1"}
    text = "".join(path.read_text() for path in place.folder.rglob("*") if path.is_file())
    words = read_admissions(cohort / "test.parquet", 1)[0]["prompt"][-1]["content"].splitlines()
    assert not [line for line in words if len(line) > 20 and line in text]


def test_a_baseline_that_is_done_is_not_done_again_unless_its_inputs_changed(
    context: Context, cohort: Path, phases: list[str]
) -> None:
    settings = EvaluateSpec(baselines=["majority"])
    once = baselines(context, settings, asked(cohort))
    assert baselines(context, settings, asked(cohort)) == once
    assert phases == ["baseline of majority"]
    baselines(context, EvaluateSpec(baselines=["majority"], max_admissions=5), asked(cohort, 5))
    assert len(phases) == 2


@pytest.mark.parametrize("damage", ["", '{"codes": ["I1', "[]", "{}"])
def test_a_damaged_file_of_answers_is_made_again(damage: str, context: Context, cohort: Path, phases: list[str]) -> None:
    settings = EvaluateSpec(baselines=["majority"])
    once = baselines(context, settings, asked(cohort))
    (context.layout.stage("evaluate").baselines / "majority.json").write_text(damage)
    assert baselines(context, settings, asked(cohort)) == once
    assert len(phases) == 2


def test_an_encoder_that_is_none_is_the_users_error(context: Context, cohort: Path, tmp_path: Path) -> None:
    settings = EvaluateSpec.model_validate({"encoder": {"path": str(tmp_path)}})
    assert wanted(settings) == ["encoder"]
    with pytest.raises(UserError, match=r"^spec.stages.evaluate.encoder.path: .* is not an encoder"):
        baselines(context, settings, asked(cohort))


def test_a_process_that_fails_names_its_log(context: Context, cohort: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_python_path", lambda name: str(cohort))
    monkeypatch.setattr(module, "asdict", lambda plan: {"unknown": "field"})
    with pytest.raises(CrashError, match=r"^the baseline majority ended with exit code 1: see .*training\.log"):
        baselines(context, EvaluateSpec(baselines=["majority"]), asked(cohort))


class Stopping(NeverStop):
    requested = True


def test_a_stop_ends_the_baseline(context: Context, cohort: Path) -> None:
    stopped: dict[str, Any] = {**vars(context), "stop": Stopping()}
    with pytest.raises(TerminatedError, match="during the baseline majority: run again to resume"):
        baselines(Context(**stopped), EvaluateSpec(baselines=["majority"]), asked(cohort))
    assert not list(context.layout.stage("evaluate").baselines.glob("majority.json"))


def test_without_scikit_learn_the_message_says_where_it_belongs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"^spec.stages.evaluate.baselines: tfidf needs scikit-learn, which is not in"):
        require(EvaluateSpec(baselines=["majority", "tfidf"]))
    require(EvaluateSpec(baselines=["majority"]))
