"""What an evaluation does before and after its engines."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.errors import ExitCode
from deepicd.evaluation import answer, predictions
from deepicd.evaluation.engine import open_parts
from deepicd.evaluation.parts import Answer
from deepicd.evaluation.plan import EvaluationPlan, Model
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
