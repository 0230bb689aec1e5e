"""Results by code, counted by hand; confusion by model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from deepicd.evaluation import classes
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report import Report
from deepicd.evaluation.report.sections import codes, confusion


def of(report: Report, *answers: tuple[str, str | None]) -> Report:
    """One model's answers: pairs of gold and answer."""
    records = [Prediction(str(at), str(at), gold, answer) for at, (gold, answer) in enumerate(answers)]
    return replace(report, metrics={"m": compute(records, bootstrap_samples=0)}, predictions={"m": records})


def test_a_code_has_its_f1_recall_and_precision(report: Report) -> None:
    found = codes.rows(of(report, ("I10", "I10"), ("I10", "J189"), ("I10", None), ("J189", "J189")))
    assert [[row[0], *row[2:]] for row in found] == [
        ["I10", None, 3, 50.0, 33.3, 100.0],
        ["J18.9", None, 1, 66.7, 100.0, 50.0],
    ]
    assert found[0][1] == "Essential (primary) hypertension"


def test_a_code_that_was_never_named_has_no_precision(report: Report) -> None:
    assert codes.rows(of(report, ("I10", "J189")))[0][2:] == [None, 1, 0.0, 0.0, None]


def test_an_answer_that_no_release_has_counts_for_no_code(report: Report) -> None:
    assert [row[0] for row in codes.rows(of(report, ("I10", "X00BAD")))] == ["I10"]


def test_the_table_of_classes_is_what_the_rows_are_read_from(report: Report, tmp_path: Path) -> None:
    found = of(report, ("I10", "I10"), ("J189", "I10"))
    classes.write(tmp_path / "by_class.parquet", classes.rows(found.predictions, {"I10": 7}))
    read = replace(found, classes=classes.read(tmp_path / "by_class.parquet"))
    assert [row[2:] for row in codes.rows(read)] == [[7, 1, 66.7, 100.0, 50.0], [0, 1, 0.0, 0.0, None]]
    table = codes.section(read).tables["codes"]
    assert [column["title"] for column in table["columns"]][2:] == ["In training", "In test", "F1 m", "Recall m", "Precision m"]


def test_the_confusion_of_each_model_can_be_chosen_and_the_last_is_shown(report: Report) -> None:
    spec = confusion.section(report).charts["confusion"]
    assert spec["params"] == [
        {"name": "shown", "value": "grpo", "bind": {"input": "radio", "options": ["base", "sft", "grpo"], "name": "Model"}}
    ]
    for model in ("base", "sft", "grpo"):
        shares: dict[str, float] = {}
        for row in spec["data"]["values"]:
            if row["model"] == model:
                shares[row["gold"]] = shares.get(row["gold"], 0.0) + row["share"]
        assert {round(share, 2) for share in shares.values()} == {100.0}
