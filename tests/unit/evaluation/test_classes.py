"""Precision, recall and F1 of each class."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.metrics import precision_recall_fscore_support

from deepicd.evaluation import classes
from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.predictions import Prediction
from tests.unit.evaluation.test_comparisons import answers


@pytest.mark.parametrize("level", Level)
def test_each_class_has_the_numbers_of_scikit_learn(level: Level) -> None:
    records = answers(0.6, seed=1)
    gold = [class_of(record.gold, level) for record in records]
    predicted = [class_of(record.prediction or "", level) for record in records]
    names = sorted({*gold, *predicted})
    wanted = precision_recall_fscore_support(gold, predicted, labels=names)
    found = [row for row in classes.rows({"model": records}) if row["level"] == level]
    assert [row["class"] for row in found] == names
    for column, name in enumerate(("precision", "recall", "f1", "support")):
        assert [row[name] for row in found] == pytest.approx(wanted[column])


def test_what_was_never_predicted_has_no_precision_and_what_is_never_gold_no_recall() -> None:
    records = [Prediction("1", "1", "M5116", "I10"), Prediction("2", "2", "M5116", None)]
    rows = {row["class"]: row for row in classes.rows({"model": records}, {"M5116": 7}) if row["level"] == "code"}
    assert (rows["M5116"]["precision"], rows["M5116"]["recall"], rows["M5116"]["f1"]) == (None, 0, 0)
    assert (rows["I10"]["precision"], rows["I10"]["recall"]) == (0, None)
    assert (rows["M5116"]["training"], rows["I10"]["training"], rows["M5116"]["chapter"]) == (7, 0, 13)
    assert rows["I10"]["title"] == "Essential (primary) hypertension"


def test_a_local_code_has_no_title_and_no_chapter(tmp_path: Path) -> None:
    found = classes.rows({"model": [Prediction("1", "1", "Z9Z9Z", "Z9Z9Z", local_gold=True)]}, {"Z9Z9Z": 1})
    classes.write(tmp_path / "by_class.parquet", found)
    rows = pq.read_table(tmp_path / "by_class.parquet").to_pylist()
    assert rows == found
    assert (rows[-1]["class"], rows[-1]["title"], rows[-1]["f1"]) == ("Z9Z9Z", None, 1.0)
