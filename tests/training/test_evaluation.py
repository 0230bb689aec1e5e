"""An evaluation in real engines: three models, interrupted and resumed, with one engine and with two."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from deepicd import icd10, prompt
from deepicd.evaluation import predictions
from deepicd.evaluation.plan import EvaluationPlan, Model
from deepicd.evaluation.predictions import Prediction
from deepicd.spec.model import ModelSpec
from deepicd.training.base_model import make
from deepicd.training.cpu.device import Cpus
from tests.training.answering_model import make_answering_model
from tests.training.runs import TINY, run_plan

pytestmark = pytest.mark.training

HEADER = "pain.</think>\n<diagnosis>M51</diagnosis><|im_end|>"
"""An answer that is no billable code."""
ADMISSIONS = 32


def ask(plan: EvaluationPlan, folder: Path) -> dict[str, list[Prediction]]:
    """Run the plan as the stage does."""
    run_plan("answer", plan, folder / "plan.json")
    return predictions.read(Path(plan.out))


def steps(plan: EvaluationPlan) -> list[int]:
    """Steps of the progress since the last look."""
    path = Path(plan.progress)
    found = [json.loads(line)["step"] for line in path.read_text().splitlines()] if path.exists() else []
    path.unlink(missing_ok=True)
    return found


@dataclass
class Story:
    """What happened."""

    first: dict[str, list[Prediction]]
    first_steps: list[int]
    resumed: dict[str, list[Prediction]]
    """After the loss of the two batches of the last model, with an engine for each, which starts with it."""
    resumed_steps: list[int]
    again_steps: list[int]
    """With nothing left to do."""
    seconds: dict[str, Any]
    parts: str
    """All that was written on the way."""


@pytest.fixture(scope="module")
def story(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("evaluation")
    for name in ("base", "trained", "other", "stages"):
        (home / name).mkdir()
    make(ModelSpec.model_validate({"tiny": TINY, "dtype": "float32"}), cohort / "train.parquet", home / "base")
    make_answering_model(cohort, home / "trained")
    make_answering_model(cohort, home / "other", HEADER)
    test = str(cohort / "test.parquet")
    models = [
        Model("other", str(home / "other"), own=False, prompt=None),
        Model("base", str(home / "base"), own=True, prompt=None),
        Model("trained", str(home / "trained"), own=True, prompt=None),
    ]
    files = {name: str(home / name) for name in ("parts", "out", "seconds", "progress", "total", "phases", "failure")}
    plan = EvaluationPlan(
        models=[asdict(model) for model in models], test=test, cohort=test, prompt=asdict(prompt.DEEPICD),
        max_admissions=ADMISSIONS, samples=2, temperature=1.0, top_k=-1, max_prompt_tokens=448, max_response_tokens=24, seed=0,
        opened_think=True, reward={}, constrained=True, premature_closure=True, stages=str(home / "stages"),
        engine={**Cpus.engine, "dtype": "float32"}, engines=[{}], batch=ADMISSIONS // 2,
        **files,
    )  # fmt: skip
    first, first_steps = ask(plan, home), steps(plan)
    for batch in (home / "parts" / "trained").glob("*.json"):
        batch.unlink()
    resumed, resumed_steps = ask(replace(plan, engines=[{}, {}]), home), steps(plan)
    ask(plan, home)
    parts = "".join(path.read_text() for path in (home / "parts").rglob("*.json"))
    return Story(first, first_steps, resumed, resumed_steps, steps(plan), json.loads((home / "seconds").read_text()), parts)


def test_all_models_answer_all_admissions(story: Story) -> None:
    assert list(story.first) == ["other", "base", "trained"]
    assert {len(records) for records in story.first.values()} == {ADMISSIONS}
    assert {record.prediction for record in story.first["other"]} >= {"M51"}
    assert all(len(record.samples or ()) == 2 for records in story.first.values() for record in records)


def test_a_constrained_answer_is_always_a_code_of_the_table(story: Story) -> None:
    codes = {record.variants["constrained"] for record in story.first["other"]}
    assert all(code is not None and icd10.is_billable(code) and code.startswith("M51") for code in codes)
    assert set(story.seconds["other"]) == {"free", "constrained"}


def test_half_of_the_note_and_a_wrong_diagnosis_are_asked_about(story: Story) -> None:
    for record in story.first["other"]:
        assert set(record.variants) == {"constrained", "half_note", "wrong_first", "planted"}
        assert icd10.category(str(record.variants["planted"])) != icd10.category(record.gold)


def test_an_interrupted_evaluation_asks_only_about_the_batches_it_lost(story: Story) -> None:
    assert story.first_steps == [1, 2, 3, 4, 5, 6]
    assert set(story.resumed_steps) <= {5, 6}
    assert len(story.resumed_steps) == 2
    assert story.again_steps == []


def test_two_engines_that_start_with_a_model_give_the_answers_of_one_that_loaded_it_after_another(story: Story) -> None:
    assert story.resumed == story.first
    answers = {name: {record.prediction for record in records} for name, records in story.first.items()}
    # Random weights hardly ever write this code.
    assert "M5116" in answers["trained"] - answers["base"] - answers["other"]


def test_what_is_written_on_the_way_has_no_text(story: Story, cohort: Path) -> None:
    import pyarrow.parquet as pq

    note = pq.read_table(cohort / "test.parquet", columns=["prompt"])["prompt"].to_pylist()[0][-1]["content"]
    assert "pain." not in story.parts
    assert not [line for line in note.splitlines() if len(line) > 20 and line in story.parts]
