from __future__ import annotations

import json
from typing import Any

import pytest

from deepicd import UserError, metrics
from deepicd.evaluation import external
from deepicd.evaluation.metrics import compute

GOLD = ["M51.16", "I10", "i10", "J18.9"]
PREDICTED = ["m5116", "I10", None, "not a code"]


def test_metrics_are_those_of_the_command() -> None:
    lines = [
        json.dumps({"id": place, "subject_id": place % 2, "gold": gold, "prediction": predicted, "fiscal_years": [2017, 2020]})
        for place, (gold, predicted) in enumerate(zip(GOLD, PREDICTED, strict=True))
    ]
    expected = compute(
        external.read(line.encode() for line in lines), train_counts={"I10": 5, "M5116": 1}, bootstrap_samples=50, seed=3
    )
    found = metrics(
        GOLD, PREDICTED, patients=[0, 1, 0, 1], train_counts={"I10": 5, "M51.16": 1}, fiscal_years=[(2017, 2020)] * 4,
        bootstrap=50, seed=3,
    )  # fmt: skip
    assert found == expected


def test_nan_is_a_missing_prediction() -> None:
    answers: list[Any] = ["I10", float("nan")]
    assert metrics(["I10", "I10"], answers, bootstrap=0)["rates"]["missing"]["value"] == 0.5


def test_without_patients_each_admission_is_one() -> None:
    assert metrics(GOLD, PREDICTED, bootstrap=0)["patients"] == len(GOLD)


def test_a_local_code_can_be_right() -> None:
    found = metrics(["I10", "Z99X9"], ["I10", "z99x9"], local_codes=["Z99.X9"], bootstrap=0)
    assert found["levels"]["code"]["accuracy"]["value"] == 1


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"predicted": ["I10"]}, "predicted: has 1 entries, gold has 4"),
        ({"patients": [1, 2]}, "patients: has 2 entries, gold has 4"),
        ({"patients": [1, 2, None, 3]}, r"admission \[2\]: patients: is missing"),
        ({"gold": ["I10", "M51", "I10", "I10"]}, r'admission \[1\]: gold: "M51" is a header'),
        ({"gold": None}, "gold: is a NoneType: give a sequence of codes"),
        ({"gold": "M5116"}, "gold: is a str: give a sequence of codes"),
        ({"predicted": iter(["I10"])}, "predicted: is a .*iterator: give a sequence of codes"),
        ({"train_counts": {"I10": -1}}, "train_counts: I10: -1 is not a count"),
    ],
)
def test_what_cannot_be_measured_is_named(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        metrics(**{"gold": GOLD, "predicted": PREDICTED, "bootstrap": 0, **given})


def test_no_admissions_are_an_error() -> None:
    with pytest.raises(UserError):
        metrics([], [])
