"""Accuracy by group of patients."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fairlearn.metrics import MetricFrame
from sklearn.metrics import accuracy_score

from deepicd.evaluation import fairness, people
from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.predictions import Prediction
from tests.unit.evaluation.test_comparisons import CODES, answers

PEOPLE = {
    str(place): {"sex": "female" if place // 2 % 3 else "male", "age": "45-64", "race": people.UNKNOWN,
                 "insurance": random.Random(place // 2).choice(["Medicare", "Medicaid", "Private"]), "language": people.UNKNOWN}
    for place in range(400)
}  # fmt: skip


def test_accuracies_and_gaps_are_those_of_fairlearn() -> None:
    records = answers(0.6, seed=1, number=400)
    found, _ = fairness.measure(records, PEOPLE, bootstrap_samples=0)
    for attribute in ("sex", "insurance"):
        labels = [PEOPLE[record.id][attribute] for record in records]
        for level in Level:
            frame = MetricFrame(
                metrics=accuracy_score,
                y_true=[class_of(record.gold, level) for record in records],
                y_pred=[class_of(record.prediction or "", level) for record in records],
                sensitive_features=labels,
            )
            groups = {row["group"]: row["accuracy"][level]["value"] for row in found[attribute]["groups"]}
            assert groups == pytest.approx(frame.by_group.to_dict())
            assert found[attribute]["largestGap"][level] == pytest.approx(frame.difference(method="between_groups"))


def test_the_largest_group_is_the_one_that_others_are_compared_with() -> None:
    found, _ = fairness.measure(answers(0.6, seed=1, number=400), PEOPLE, bootstrap_samples=0)
    sex = found["sex"]
    assert (sex["reference"], [row["group"] for row in sex["groups"]]) == ("female", ["female", "male"])
    assert "gap" not in sex["groups"][0]
    values = [row["accuracy"]["code"]["value"] for row in sex["groups"]]
    assert sex["groups"][1]["gap"]["code"]["value"] == pytest.approx(values[1] - values[0])  # type: ignore[operator]


def test_admissions_without_a_value_are_compared_and_are_never_the_reference() -> None:
    groups = {
        str(place): {"race": ("White" if place % 8 == 0 else "Black") if place % 4 == 0 else people.UNKNOWN}
        for place in range(400)
    }
    found, _ = fairness.measure(answers(0.6, seed=1, number=400), groups, bootstrap_samples=0)
    race = found["race"]
    assert race["reference"] in {"Black", "White"}
    assert race["groups"][-1]["group"] == people.UNKNOWN
    assert race["groups"][-1]["admissions"] == 300
    assert "gap" in race["groups"][-1]


def unfair(records: list[Prediction]) -> list[Prediction]:
    return [
        Prediction(one.id, one.subject_id, one.gold, one.gold if PEOPLE[one.id]["sex"] == "female" else None) for one in records
    ]


def test_a_clear_gap_is_significant_and_named_in_the_sentence() -> None:
    found, _ = fairness.measure(unfair(answers(1, seed=1, number=400)), PEOPLE, bootstrap_samples=200)
    gap = found["sex"]["groups"][1]["gap"]["code"]
    assert (gap["value"], gap["interval"], gap["significant"]) == (-1, [-1, -1], True)
    assert "male -100.0 points [-100.0, -100.0]" in found["sex"]["conclusion"]
    assert "cannot be concluded" in found["sex"]["conclusion"]


def test_without_a_significant_gap_the_sentence_says_what_could_have_been_missed() -> None:
    found, _ = fairness.measure(answers(0.6, seed=1, number=400), PEOPLE, bootstrap_samples=200)
    assert found["sex"]["groups"][1]["gap"]["category"]["significant"] is False
    assert "does not show that there is none" in found["sex"]["conclusion"]
    ends = found["sex"]["groups"][1]["gap"]["category"]["interval"] or [0]
    widest = 100 * max(map(abs, ends))
    assert f"gaps of up to {widest:.1f} points are within the intervals" in found["sex"]["conclusion"]


def test_gaps_of_all_attributes_are_corrected_together() -> None:
    found, _ = fairness.measure(answers(0.6, seed=1, number=400), PEOPLE, bootstrap_samples=1000)
    gaps = [row["gap"]["code"] for own in found.values() for row in own["groups"] if "gap" in row]
    smallest = min(gaps, key=lambda gap: gap["p"] or 1)
    assert len(gaps) == 3
    assert smallest["pHolm"] == pytest.approx(min(1, 3 * (smallest["p"] or 0)))


def test_intervals_draw_patients_not_admissions() -> None:
    # Each patient has all admissions right or all wrong, so the interval is that of the patients.
    records = [
        Prediction(f"{patient}-{visit}", str(patient), "I10", "I10" if patient % 2 else None)
        for patient in range(80) for visit in range(10)
    ]  # fmt: skip
    groups = {one.id: {"sex": "female" if int(one.subject_id) < 40 else "male"} for one in records}
    found, _ = fairness.measure(records, groups, bootstrap_samples=500)
    low, high = found["sex"]["groups"][0]["accuracy"]["code"]["interval"] or (0, 0)
    expected = 2 * 1.96 * np.sqrt(0.25 / 40)
    assert expected * 0.8 < high - low < expected * 1.25


def test_groups_of_fewer_than_20_patients_show_no_number() -> None:
    records = answers(0.6, seed=1, number=100)
    groups = {str(place): {"language": "Spanish" if place < 38 else "English"} for place in range(100)}
    _, absent = fairness.measure(records, groups, bootstrap_samples=0)
    assert absent["language"] == "fewer than two groups have 20 patients in the test split"
    groups |= {str(place): {"language": "Russian"} for place in range(60, 100)}
    found, _ = fairness.measure(records, groups | {"38": {"language": "Greek"}}, bootstrap_samples=0)
    assert found == {}
    groups |= {str(place): {"language": "Spanish"} for place in range(40)}
    found, _ = fairness.measure(records, groups, bootstrap_samples=0)
    assert [row["group"] for row in found["language"]["groups"]] == ["Russian", "Spanish"]
    assert found["language"]["suppressed"] == ["1 other group"]
    assert "Not shown, with fewer than 20 patients: 1 other group." in found["language"]["conclusion"]


def test_a_value_that_few_patients_have_is_named_nowhere() -> None:
    records = answers(0.6, seed=1, number=200)
    groups = {str(place): {"insurance": "Medicare" if place < 100 else "Medicaid"} for place in range(200)}
    groups |= {str(place): {"insurance": f"Policy ab-{place}", "sex": "female"} for place in range(10)}
    groups |= {"12": {"insurance": "No charge"}}
    found, absent = fairness.measure(records, groups, bootstrap_samples=0)
    assert found["insurance"]["suppressed"] == ["No charge", "10 other groups"]
    assert "Policy" not in str(found) + str(absent)


def test_what_the_cohort_does_not_say_is_absent_with_its_reason() -> None:
    found, absent = fairness.measure(answers(0.6, seed=1, number=400), PEOPLE, bootstrap_samples=0)
    assert set(found) == {"sex", "insurance"}
    assert absent == {
        "age": "fewer than two groups have 20 patients in the test split",
        "race": "the cohort does not record it: no admission has a value in the column race",
        "language": "the cohort does not record it: no admission has a value in the column language",
    }


@pytest.mark.parametrize(
    ("race", "group"),
    [("WHITE - RUSSIAN", "White"), ("BLACK/AFRICAN AMERICAN", "Black"), ("HISPANIC/LATINO - CUBAN", "Hispanic or Latino"),
     ("ASIAN - CHINESE", "Asian"), ("UNABLE TO OBTAIN", "unknown"), (None, "unknown"),
     ("OTHER", "Other"), ("Sorbisch", "Sorbisch")],
)  # fmt: skip
def test_races_are_grouped_as_mimic_writes_them(race: str | None, group: str) -> None:
    assert people.race_group(race) == group


def test_ages_are_in_bands() -> None:
    bands = [people.age_band(age) for age in (3, 18, 44, 45, 64, 65, 79, 80, 95, None)]
    assert bands == ["0-17", "18-44", "18-44", "45-64", "45-64", "65-79", "65-79", "80 and over", "80 and over", "unknown"]


@pytest.mark.parametrize("age", [-1, 126, 999, float("nan"), float("inf"), "45"])
def test_what_is_no_age_of_a_person_is_unknown(age: object) -> None:
    assert people.age_band(age) == people.UNKNOWN
    assert (people.age_band(0), people.age_band(91), people.age_band(121)) == ("0-17", "80 and over", "80 and over")


@pytest.mark.parametrize("attribute", ["sex", "race", "insurance", "language"])
def test_a_value_that_is_missing_in_pandas_is_unknown(attribute: str) -> None:
    assert people.ATTRIBUTES[attribute](float("nan")) == people.UNKNOWN


def test_groups_are_read_from_a_split_by_id(tmp_path: Path) -> None:
    columns = {"id": ["7", "8"], "sex": ["F", "UNKNOWN"], "age": [50, None], "insurance": ["MEDICARE", None], "code": CODES[:2]}
    pq.write_table(pa.table(columns), tmp_path / "test.parquet")
    assert people.read(tmp_path / "test.parquet") == {
        "7": {"sex": "female", "age": "45-64", "race": "unknown", "insurance": "Medicare", "language": "unknown"},
        "8": {"sex": "unknown", "age": "unknown", "race": "unknown", "insurance": "unknown", "language": "unknown"},
    }
