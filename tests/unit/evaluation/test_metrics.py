import json
import random
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from deepicd import icd10
from deepicd.completion import Fault
from deepicd.errors import UserError
from deepicd.evaluation.metrics import compare, compute
from deepicd.evaluation.metrics_schema import SCHEMA, Comparison, Metrics
from deepicd.evaluation.predictions import Prediction


def prediction(number: int, gold: str, answer: str | None, *, patient: int | None = None, **known: object) -> Prediction:
    subject = number if patient is None else patient
    return Prediction(id=str(number), subject_id=str(subject), gold=gold, prediction=answer, **known)  # type: ignore[arg-type]


def measured(records: list[Prediction], samples: int = 0, counts: dict[str, int] | None = None) -> Metrics:
    return compute(records, train_counts=counts, bootstrap_samples=samples, seed=1)


# Chapters: M 13, D65 3, D120 2, I10 9.
SMALL = [
    prediction(1, "M5116", "M5116"),
    prediction(2, "M5116", "M5117"),
    prediction(3, "D65", "D120"),
    prediction(4, "D65", None),
    prediction(5, "I10", "M51"),  # exists, is not billable
    prediction(6, "I10", "I10"),
]


def test_macro_f1_at_the_three_levels_by_hand() -> None:
    levels = measured(SMALL)["levels"]
    # chapter: 13 has TP 2; 3 has TP 0; 9 has TP 1, FN 1.
    assert levels["chapter"]["macroF1"]["value"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert levels["category"]["macroF1"]["value"] == pytest.approx((1 + 0 + 2 / 3) / 3)
    # code: M5116 has TP 1, FN 1; the false positive of M5117 is no gold class.
    assert levels["code"]["macroF1"]["value"] == pytest.approx((2 / 3 + 0 + 2 / 3) / 3)
    assert levels["code"]["macroF1Union"]["value"] == pytest.approx((2 / 3 + 0 + 2 / 3 + 0 + 0) / 5)
    assert levels["code"]["accuracy"]["value"] == pytest.approx(2 / 6)
    assert levels["code"]["microF1"]["value"] == pytest.approx(2 * 2 / (6 + 4))
    assert (levels["code"]["goldClasses"], levels["code"]["predictedClasses"]) == (3, 4)


def test_invalid_and_missing_predictions_have_separate_rates() -> None:
    rates = measured(SMALL)["rates"]
    assert rates["validCode"]["value"] == pytest.approx(4 / 6)
    assert rates["missing"]["value"] == pytest.approx(1 / 6)
    assert rates["invalid"]["value"] == pytest.approx(1 / 6)


def test_a_code_that_is_not_billable_is_no_false_positive_of_its_category() -> None:
    assert measured([prediction(1, "I10", "M51"), prediction(2, "M5116", "M5116")])["levels"]["category"]["macroF1"][
        "value"
    ] == pytest.approx((0 + 1) / 2)


def test_format_and_fault_rates() -> None:
    records = [
        prediction(1, "I10", "I10"),
        prediction(2, "I10", "I101", faults=(Fault.UNKNOWN_CODE,)),
        prediction(3, "I10", None, faults=(Fault.NO_DIAGNOSIS, Fault.TRUNCATED)),
        prediction(4, "I10", None, faults=(Fault.NO_DIAGNOSIS,)),
    ]
    rates = measured(records)["rates"]
    assert rates["format"]["value"] == 0.5
    assert set(rates["faults"]) == set(Fault)
    assert {name: rate["value"] for name, rate in rates["faults"].items() if rate["value"]} == {
        "unknown_code": 0.25, "no_diagnosis": 0.5, "truncated": 0.25,
    }  # fmt: skip


def test_a_reward_without_its_judge_has_another_name() -> None:
    found = compute([prediction(1, "I10", "I10")], bootstrap_samples=0, reward_name="reward_without_judge")
    assert found["reward"]["name"] == "reward_without_judge"


def test_what_was_not_observed_is_null_not_zero() -> None:
    computed = measured([prediction(1, "I10", "I10", faults=None)], samples=10)
    assert computed["rates"]["format"] == {"value": None, "interval": None}
    assert computed["rates"]["faults"]["truncated"]["value"] is None
    assert computed["reward"] == {"name": "reward", "scored": 0, "mean": {"value": None, "interval": None}, "terms": {}}


def test_an_unscored_admission_stays_out_of_the_mean_reward() -> None:
    records = [
        prediction(1, "I10", "I10", reward=1.0, terms={"outcome": 1.0}),
        prediction(2, "I10", None, reward=0.0, terms={"outcome": 0.0}),
        prediction(3, "I10", "I10"),
    ]
    reward = measured(records)["reward"]
    assert (reward["scored"], reward["mean"]["value"], reward["terms"]["outcome"]["value"]) == (2, 0.5, 0.5)


def test_frequency_groups_by_hand() -> None:
    records = [
        prediction(1, "I10", "I10"),
        prediction(2, "D65", "I10"),
        prediction(3, "M5116", "M5116"),
        prediction(4, "M5117", "M5117"),
        prediction(5, "M5117", None),
    ]
    groups = measured(records, counts={"I10": 30, "D65": 20, "M5116": 5})["levels"]["code"]["byFrequency"]
    assert groups is not None
    assert {name: group["macroF1"]["value"] for name, group in groups.items()} == pytest.approx(
        {"frequent": 2 / 3, "medium": 0, "rare": 1, "unseen": 2 / 3}
    )
    assert groups["frequent"]["trainingCounts"] == [30, 30]
    assert (groups["unseen"]["classes"], groups["unseen"]["admissions"]) == (1, 2)
    assert groups["unseen"]["trainingCounts"] == [0, 0]
    assert groups["unseen"]["accuracy"]["value"] == 0.5


def test_training_counts_of_codes_add_up_at_higher_levels() -> None:
    groups = measured(SMALL, counts={"M5116": 2, "M5117": 2, "I10": 3, "D65": 1})["levels"]["category"]["byFrequency"]
    assert groups is not None
    assert groups["frequent"]["trainingCounts"] == [4, 4]


def test_without_training_counts_there_are_no_frequency_groups() -> None:
    assert measured(SMALL)["levels"]["code"]["byFrequency"] is None


def test_chapters_by_hand() -> None:
    rows = measured(SMALL)["byChapter"]
    assert [(row["chapter"], row["admissions"]) for row in rows] == [(3, 2), (9, 2), (13, 2)]
    assert [row["f1"]["value"] for row in rows] == pytest.approx([0, 2 / 3, 1])
    assert [row["codeMacroF1"]["value"] for row in rows] == pytest.approx([0, 2 / 3, 2 / 3])
    assert [row["categoryMacroF1"]["value"] for row in rows] == pytest.approx([0, 2 / 3, 1])
    assert rows[0]["title"] == icd10.chapter_title(3)


def test_levels_agree_with_scikit_learn_on_random_codes() -> None:
    choice = random.Random(0)
    codes = choice.sample(list(icd10.billable_codes()), 40)
    answers = [*codes, *choice.sample(list(icd10.billable_codes()), 20), "M51", "X", None]
    for _ in range(20):
        records = [prediction(number, choice.choice(codes), choice.choice(answers)) for number in range(300)]
        records += [prediction(number, record.gold, record.gold) for number, record in enumerate(records[:150], 300)]
        levels = measured(records)["levels"]
        for level, classify in (
            ("chapter", lambda code: f"{icd10.chapter(code)}"),
            ("category", icd10.category),
            ("code", str),
        ):
            gold = [classify(record.gold) for record in records]
            answered = [
                classify(record.prediction)
                if record.prediction is not None and icd10.is_billable(record.prediction)
                else "none"
                for record in records
            ]
            macro = f1_score(gold, answered, labels=sorted(set(gold)), average="macro", zero_division=0)
            union = sorted({*gold, *answered} - {"none"})
            assert levels[level]["macroF1"]["value"] == pytest.approx(macro)
            assert levels[level]["macroF1Union"]["value"] == pytest.approx(
                f1_score(gold, answered, labels=union, average="macro", zero_division=0)
            )
            assert levels[level]["microF1"]["value"] == pytest.approx(
                f1_score(gold, answered, labels=union, average="micro", zero_division=0)
            )


def test_intervals_are_reproducible_hold_the_value_and_can_be_left_out() -> None:
    records = [prediction(n, "I10" if n % 2 else "D65", "I10" if n % 3 else "D65") for n in range(200)]
    first, again, without = measured(records, 300), measured(records, 300), measured(records)
    assert json.dumps(first) == json.dumps(again)
    macro = first["levels"]["chapter"]["macroF1"]
    assert macro["interval"] is not None
    assert macro["value"] is not None
    assert macro["interval"][0] < macro["value"] < macro["interval"][1]
    assert without["levels"]["chapter"]["macroF1"] == {"value": macro["value"], "interval": None}


def test_admissions_of_one_patient_widen_the_interval() -> None:
    answers = [("I10" if n % 2 else "D65") for n in range(100)]
    alone = [prediction(n, "I10", answer) for n, answer in enumerate(answers)]
    shared = [prediction(n, "I10", answer, patient=n % 10) for n, answer in enumerate(answers)]

    def width(records: list[Prediction]) -> float:
        low, high = measured(records, 500)["levels"]["code"]["accuracy"]["interval"] or (0, 0)
        return high - low

    assert width(shared) > 2 * width(alone)


def test_bootstrap_agrees_with_metrics_of_the_resampled_admissions() -> None:
    choice = random.Random(1)
    codes = ["I10", "D65", "M5116", "M5117", "D120"]
    records = [prediction(n, choice.choice(codes), choice.choice([*codes, "M51", None]), patient=n // 2) for n in range(60)]
    interval = measured(records, 200)["levels"]["code"]["macroF1"]["interval"]
    # The same draws, each turned into a list of admissions and measured on its own.
    patients = np.unique([record.subject_id for record in records])
    drawn = np.random.default_rng(1).integers(len(patients), size=(200, len(patients)))
    values = []
    for sample in drawn:
        resampled = [record for at in sample for record in records if record.subject_id == patients[at]]
        values.append(measured(resampled)["levels"]["code"]["macroF1"]["value"])
    assert interval == pytest.approx(np.percentile(np.array(values, dtype=float), [2.5, 97.5]).tolist())


def test_the_file_names_schema_and_definitions_and_is_strict_json() -> None:
    computed = measured(SMALL, 20, {"I10": 1})
    assert computed["schema"] == SCHEMA
    assert "false positive for none" in computed["definitions"]["F1"]
    assert json.loads(json.dumps(computed, allow_nan=False)) == computed
    assert (computed["admissions"], computed["patients"]) == (6, 6)


def test_gold_codes_that_are_not_billable_are_counted() -> None:
    assert measured([prediction(1, "M51", "M5116"), prediction(2, "I10", "I10")])["goldNotBillable"] == 1


@pytest.mark.parametrize("gold", ["I1O", "", "the patient has chest pain"])
def test_an_invalid_gold_code_names_its_admission_and_is_not_quoted(gold: str) -> None:
    with pytest.raises(UserError, match="prediction 17: gold") as caught:
        measured([prediction(17, gold, "I10")])
    assert not gold or gold not in str(caught.value)


def test_no_predictions_and_bad_training_counts_are_refused() -> None:
    with pytest.raises(UserError, match="none"):
        measured([])
    with pytest.raises(UserError, match="training counts"):
        measured(SMALL, counts={"I1O": 3})


def difference(comparison: Comparison, name: str) -> float:
    value = comparison["differences"][name]["value"]
    assert value is not None
    return value


def test_the_difference_is_the_second_model_minus_the_first_whatever_the_order_of_admissions() -> None:
    better = [prediction(int(record.id), record.gold, record.gold) for record in SMALL]
    found = compare(SMALL, better[::-1], bootstrap_samples=50)
    assert difference(found, "code.macroF1") == pytest.approx(1 - (2 / 3 + 0 + 2 / 3) / 3)
    assert difference(found, "validCode") == pytest.approx(2 / 6)
    assert found["differences"]["reward"] == {"value": None, "interval": None}


def test_a_model_does_not_differ_from_itself() -> None:
    found = compare(SMALL, SMALL, bootstrap_samples=50)
    assert found["differences"]["category.macroF1"] == {"value": 0.0, "interval": [0.0, 0.0]}


def test_pairing_narrows_the_interval_of_two_models_that_err_together() -> None:
    hard = [n % 2 == 0 for n in range(200)]
    first = [prediction(n, "I10", "D65" if bad else "I10") for n, bad in enumerate(hard)]
    second = [prediction(n, "I10", "D65" if bad and n % 20 else "I10") for n, bad in enumerate(hard)]
    low, high = compare(first, second, bootstrap_samples=500)["differences"]["code.accuracy"]["interval"] or (0, 0)
    alone_low, alone_high = measured(first, 500)["levels"]["code"]["accuracy"]["interval"] or (0, 0)
    assert 0 < low < 0.05 < high
    assert high - low < alone_high - alone_low


@pytest.mark.parametrize(
    "other",
    [SMALL[:-1], [*SMALL[:-1], prediction(7, "I10", "I10")], [*SMALL[:-1], prediction(6, "D65", "I10")]],
    ids=["fewer", "another admission", "another gold"],
)
def test_models_with_different_admissions_cannot_be_compared(other: list[Prediction]) -> None:
    with pytest.raises(UserError, match="same admissions"):
        compare(SMALL, other, bootstrap_samples=0)


def test_importing_metrics_pulls_in_nothing_heavy() -> None:
    heavy = ("vl_convert", "jinja2", "pyarrow", "duckdb", "torch", "verl", "vllm", "ray", "transformers")
    script = f"import sys, deepicd.evaluation.metrics; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("patients", [1, 2, 5])
def test_too_few_patients_have_no_intervals_and_the_reason_is_given(patients: int) -> None:
    records = [prediction(number, "I10", "I10" if number % 2 else None, patient=number % patients) for number in range(30)]
    found = measured(records, 100)
    assert found["levels"]["code"]["accuracy"] == {"value": 0.5, "interval": None}
    assert found["bootstrap"]["samples"] == 0
    assert found["absent"]["interval"] == "fewer than 6 patients"
    assert compare(records, records, bootstrap_samples=100)["differences"]["code.accuracy"]["interval"] is None


def test_one_admission_has_every_number_that_one_can_have() -> None:
    found = measured([prediction(1, "I10", "I10", samples=("I10", None))], 100)
    assert found["levels"]["code"]["macroF1"] == {"value": 1.0, "interval": None}
    assert "interval" not in measured([prediction(1, "I10", "I10")], 0)["absent"]


def test_answers_under_another_condition_are_absent_with_their_reason() -> None:
    absent = measured([prediction(1, "I10", "I10")], 0)["absent"]
    assert absent["constrained"] == "no answers constrained to codes of the table are known"
    assert absent["prematureClosure"] == "no answers to changed notes are known"
    half = replace(prediction(1, "I10", "I10"), variants={"half_note": "I10"})
    found = measured([half], 0)
    assert list(found["prematureClosure"]) == ["half_note"]
    assert found["absent"]["prematureClosure.wrong_first"] == "no such answers are known"
