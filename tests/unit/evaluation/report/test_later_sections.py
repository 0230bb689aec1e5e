"""Sections for what an evaluation may be asked for: samples, calibration, fairness, and comparisons with other models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.report import Report, html
from deepicd.evaluation.report.comparisons import pair_of, pairs
from deepicd.evaluation.report.overview import overview, verdict_of
from deepicd.evaluation.report.sections import calibration, difficulty, distillation, fairness, samples
from tests.unit.evaluation.report.reports import answers, fully_evaluated, row_of, text_of


@pytest.fixture(scope="module")
def evaluated() -> Report:
    return fully_evaluated()


def lacking(report: Report, name: str, reason: str | None) -> Report:
    """The report without a part of the metrics, with or without a reason."""
    metrics: Any = {
        model: {key: value for key, value in own.items() if key != name} | {"absent": {name: reason} if reason else {}}
        for model, own in report.metrics.items()
    }
    return replace(report, metrics=metrics)


def test_calibration_is_drawn_and_in_a_table(evaluated: Report) -> None:
    found = calibration.section(evaluated)
    assert found is not None
    text = text_of(found.html)
    assert "Confidence: agreement of 4 samples." in text
    assert "base 77 12.0 +50.0 40.0 to 60.0 50.0 40.0 to 60.0" in text
    bins = found.charts["reliability"]["layer"][2]["data"]["values"]
    assert bins[0] == {"series": "base", "confidence": 45.0, "accuracy": 50.0, "admissions": 30, "low": 40.0, "high": 60.0}


def test_each_kind_of_confidence_names_its_models(evaluated: Report) -> None:
    metrics: Any = dict(evaluated.metrics)
    metrics["base"] = {**metrics["base"], "calibration": {**metrics["base"]["calibration"], "confidence": "its probability"}}
    found = calibration.section(replace(evaluated, metrics=metrics))
    assert found is not None
    assert "Confidence: its probability (base); agreement of 4 samples (sft, grpo)." in text_of(found.html)


def test_a_conclusion_says_once_what_was_suppressed(evaluated: Report) -> None:
    metrics: Any = {
        name: {**own, "fairness": {"sex": {**own["fairness"]["sex"], "conclusion": "No gap. Not shown: other."}}}
        for name, own in evaluated.metrics.items()
    }
    found = fairness.section(replace(evaluated, metrics=metrics))
    assert found is not None
    assert text_of(found.html).count("Not shown") == 1


def test_a_gap_is_shown_with_its_corrected_p_value_and_what_was_suppressed(evaluated: Report) -> None:
    found = fairness.section(evaluated)
    assert found is not None
    text = text_of(found.html)
    assert "Sex. There is a gap. " in text
    assert "−10.0 −20.0 to −5.0 p = 0.004" in text
    assert "Age was not computed: no admission has an age." in text
    [row] = found.charts["fairness"]["data"]["values"]
    assert (row["group"], row["value"], row["real"]) == ("sex: female", -10.0, True)


def test_samples_constrained_answers_and_premature_closure_are_in_tables(evaluated: Report) -> None:
    found = samples.section(evaluated)
    assert found is not None
    text = text_of(found.html)
    assert "base 4 50.0 40.0 to 60.0" in text
    assert "base, seconds per admission: free 0.020, constrained 0.025." in text
    assert "A wrong diagnosis stated before the note base chapter 50.0 40.0 to 60.0 50.0 40.0 to 60.0 25.0 20.0 to 30.0" in text
    assert [row["k"] for row in found.charts["pass-code"]["data"]["values"] if row["series"] == "sft"] == [1, 2, 4]


@pytest.mark.parametrize(("make", "name"), [(calibration.section, "calibration"), (fairness.section, "fairness")])
def test_what_could_not_be_computed_has_its_reason_and_what_was_not_asked_for_no_section(
    evaluated: Report, make: Any, name: str
) -> None:
    found = make(lacking(evaluated, name, "too few answers"))
    assert "Not computed: too few answers." in found.html
    assert not found.charts
    assert make(lacking(evaluated, name, None)) is None


def test_a_p_value_of_the_run_decides_what_the_verdict_says(evaluated: Report) -> None:
    assert verdict_of(evaluated).startswith("The test set cannot tell GRPO from SFT at chapter level (+10.0 [5.0, 15.0])")
    page = overview(evaluated)
    assert "p = 0.200" in page
    assert "Holm" in page
    assert "Holm" not in overview(replace(evaluated, comparisons=None))


def test_a_pair_of_the_file_can_be_turned_round_and_what_it_lacks_is_unknown(evaluated: Report) -> None:
    turned = pair_of(evaluated, "grpo", "sft")
    assert turned.measures["code.macroF1"] == {"value": -0.1, "interval": [-0.15, -0.05]}
    assert turned.measures["reward"] == {"value": None, "interval": None}
    assert turned.p["code.macroF1"] == 0.2


def test_the_teachers_answers_are_counted_by_the_rule_that_rejected_them(evaluated: Report, report: Report) -> None:
    found = distillation.section(evaluated)
    assert found is not None
    text = text_of(found.html)
    assert "100 answers for 60 admissions − 30 30.0 % named − 20 20.0 % form 50 traces kept" in text
    assert "a teacher wrote" in text
    assert "127.0.0.1" not in text
    assert distillation.section(report) is None


def test_the_difficulty_of_the_prompts_is_drawn_with_those_left_out(evaluated: Report, report: Report) -> None:
    found = difficulty.section(evaluated)
    assert found is not None
    assert "60 training prompts − 5 8.3 % solved too often" in text_of(found.html)
    assert [row["prompts"] for row in found.charts["difficulty"]["data"]["values"]] == [10, 45, 5]
    assert difficulty.section(report) is None


def test_other_models_are_compared_with_the_last_trained_one_only(report: Report) -> None:
    weak, strong = answers(0.0, 4), answers(1.0, 5)
    unscored = [replace(record, faults=None, reward=None, terms={}) for record in weak]
    more = {"weak": unscored, "strong": strong}
    wider = replace(
        report,
        metrics={**{name: compute(records, bootstrap_samples=50) for name, records in more.items()}, **report.metrics},
        predictions={**more, **report.predictions},
    )
    assert [(pair.first, pair.second) for pair in pairs(wider)] == [
        ("base", "sft"), ("sft", "grpo"), ("base", "grpo"), ("weak", "grpo"), ("strong", "grpo"),
    ]  # fmt: skip
    assert "GRPO is worse than strong at chapter level" in verdict_of(wider)
    assert "than weak" not in verdict_of(wider)
    page = html(wider)
    assert "Rare and frequent codes" in page
    assert row_of(page, "reward", "outcome").startswith("outcome 1 if the answer is the gold code, else 0. 0.5 – 1.000")
