"""What an evaluation does before and after its engines."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import endpoint, prompt
from deepicd.errors import ExitCode
from deepicd.evaluation import answer, predictions
from deepicd.evaluation.engine import open_parts
from deepicd.evaluation.parts import Answer
from deepicd.evaluation.plan import EvaluationPlan, Model
from tests.judge_stub import MODEL, stub
from tests.unit.evaluation.test_plan import plan as plan_of


@pytest.fixture
def plan(tmp_path: Path) -> EvaluationPlan:
    """Two admissions and one model, which is no model."""
    (tmp_path / "model").mkdir()
    rows = [
        {
            "id": str(number),
            "subject_id": "1",
            "code": "I10",
            "prompt": prompt.messages("Fever."),
            "extra_info": {"index": number},
        }
        for number in range(2)
    ]
    for name in ("test.parquet", "cohort.parquet"):
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / name)
    files = {name: str(tmp_path / name) for name in ("out", "seconds", "progress", "total", "phases", "failure")}
    model = Model("released", str(tmp_path / "model"), own=False, prompt=None)
    found = plan_of(tmp_path, models=[asdict(model)], prompt=asdict(prompt.DEEPICD), stages=str(tmp_path), batch=1, **files)
    (tmp_path / "plan.json").write_text(json.dumps(asdict(found)))
    return found


def test_a_model_that_cannot_be_asked_is_reported_as_the_users_error(plan: EvaluationPlan, tmp_path: Path) -> None:
    found = replace(plan, models=[asdict(Model("released", "/none", own=False, prompt=None))])
    (tmp_path / "plan.json").write_text(json.dumps(asdict(found)))
    with pytest.raises(SystemExit) as left:
        answer.main(str(tmp_path / "plan.json"))
    assert left.value.code == ExitCode.USER_ERROR
    reported = json.loads(Path(plan.failure).read_text())
    assert reported["message"].startswith("spec.stages.evaluate.models.released.path: '/none' is not a folder")


def test_answers_that_are_all_there_are_only_put_together(plan: EvaluationPlan, tmp_path: Path) -> None:
    parts = open_parts(plan)["released"]
    parts.begin()
    for batch in range(2):
        parts.write(batch, [Answer(str(batch), "I10", [], ["I10", None], 0.5, {}, None, {})], {})
    answer.main(str(tmp_path / "plan.json"))
    assert [record.prediction for record in predictions.read(Path(plan.out))["released"]] == ["I10", "I10"]
    assert json.loads(Path(plan.seconds).read_text()) == {"released": {}}
    assert (Path(plan.total).read_text(), Path(plan.progress).exists()) == ("2", False)


@pytest.mark.parametrize("available", [True, False])
def test_what_was_answered_without_the_judge_is_answered_again_once_it_is_available(
    plan: EvaluationPlan, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, available: bool
) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.01)
    asked: list[list[int]] = []

    class Asks:
        """In place of an engine with vLLM."""

        def __init__(self, plan: EvaluationPlan, number: int, admissions: object) -> None:
            self.parts = open_parts(plan)["released"]

        def run(self) -> None:
            asked.append([batch for batch in range(2) if not self.parts.has(batch)])
            for batch in asked[-1]:
                self.parts.write(batch, [replace(unjudged, id=str(batch), judged=(0.9, {"judge": 1.0}))], {})

    monkeypatch.setattr(answer, "Engine", Asks)
    unjudged = Answer("0", "I10", [], ["I10", None], 0.5, {}, None, {})
    with stub() as server:
        judge = {"endpoint": server.url, "name": MODEL, "timeout": "1s"}
        found = replace(plan, reward={"weights": {"judge": 0.2}, "judge": judge})
        parts = open_parts(found)["released"]
        parts.begin()
        parts.write(0, [replace(unjudged, judged=(0.7, {"judge": 0.5}))], {})
        parts.write(1, [replace(unjudged, id="1")], {})
        if available:
            answer.answer(found, "plan.json")
    if not available:
        answer.answer(found, "plan.json")
    assert asked == [[1] if available else []]
    rewards = [one.reward for one in predictions.read(Path(plan.out))["released"]]
    assert rewards == ([0.7, 0.9] if available else [0.5, 0.5])
    said = capsys.readouterr().err
    assert ("1 batches were answered without the judge, and are answered again" in said) is available
    assert ("1 batches stay without the judge" in said) is not available
