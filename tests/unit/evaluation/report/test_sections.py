"""Cohort, reward, faults, next steps: the sections that are mostly text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepicd.completion import Fault
from deepicd.evaluation.report import Report
from deepicd.evaluation.report.sections import cohort, faults, reward
from deepicd.evaluation.report.sections.next_steps import next_steps
from tests.unit.evaluation.report.reports import row_of, text_of


def test_what_was_left_out_is_listed_with_reason_share_and_what_remains(report: Report) -> None:
    text = text_of(cohort.section(report).html)
    assert "1,000 admissions − 250 25.0 % coded in ICD-9 only 750 used" in text
    assert "1,200 traces − 7 0.6 % a tag (&lt;think&gt;) inside 1,193 used" in text
    assert "1,100 traces had &lt;think&gt; tags around them, which were removed" in text


@pytest.mark.parametrize(("left_out", "text"), [(None, "is not recorded"), ([], "Nothing was left out")])
def test_a_run_that_left_nothing_out_or_did_not_record_it_says_so(
    report: Report, left_out: list[Any] | None, text: str
) -> None:
    assert text in cohort.section(replace(report, left_out=left_out)).html


def test_shortened_notes_are_counted_by_split_and_section(page: str) -> None:
    assert row_of(page, "cohort", "Shortened") == "Shortened 250 25.0 % 0"
    assert row_of(page, "cohort", "in Medications on Admission") == "in Medications on Admission 250 0"
    assert page.index("in Medications on Admission") < page.index("in Social History")
    assert "990 examples of at most 3,072 tokens. 12 have" in page
    assert "3 were dropped" in page


def test_a_run_of_an_earlier_version_without_prompt_counts_has_a_cohort(report: Report) -> None:
    assert "The splits are not recorded" in cohort.section(replace(report, prompts=None)).html


def test_every_term_has_its_definition_and_weight(report: Report, page: str) -> None:
    assert row_of(page, "reward", "outcome").startswith("outcome 1 if the answer is the gold code, else 0. 0.5 1.000")
    own = {"spec": {"reward": {"weights": {"outcome": 0.25}}}}
    found = reward.section(replace(report, settings=own))
    assert found is not None
    assert ">0.25<" in found.html


JUDGE: dict[str, Any] = {
    "rubric": {"version": "7", "criteria": [{"name": "fits", "question": "Does it <fit>?", "negative": True, "weight": 2.0}]},
    "completions": 1600, "missing": 12, "agreement": {"outcome": -0.25, "format": None}, "alarm": None,
}  # fmt: skip


def reward_of(report: Report) -> str:
    found = reward.section(report)
    assert found is not None
    return found.html


def test_the_judges_rubric_and_agreement_are_shown(report: Report) -> None:
    assert "Rubric, version" not in reward_of(report)
    judged = reward_of(replace(report, judge=JUDGE))
    assert "Rubric, version 7" in judged
    assert "Does it &lt;fit&gt;?" in judged
    assert "it judged 1,600 completions; 12 verdicts are missing" in judged
    assert "outcome −0.25, format –" in judged


def test_a_judge_that_is_pleased_without_better_answers_is_an_alarm(report: Report) -> None:
    found = "the judge's mean rose from 0.26 to 0.64"
    assert "may be pleased" not in reward_of(replace(report, judge=JUDGE))
    assert "may be pleased without the answers getting better" in reward_of(replace(report, judge={**JUDGE, "alarm": found}))


def test_a_second_judge_is_shown_with_its_agreement(report: Report) -> None:
    second = {
        "model": "/models/<b>", "completions": 1200, "missing": 3, "mean": 0.4, "judge": 0.75, "agreed": 0.8, "kappa": 0.55,
        "criteria": {"fits": {"agreed": 0.8, "kappa": None}},
    }  # fmt: skip
    shown = reward_of(replace(report, judge={**JUDGE, "second": second}))
    assert "Second judge, /models/&lt;b&gt;, on the validation split" in shown
    assert "Over 1,200 completions its mean is 0.40, the judge's 0.75; 3 of its verdicts are missing" in shown
    assert "<td>0.80</td><td>–</td>" in shown
    assert "<td>0.80</td><td>0.55</td>" in shown
    assert "Second judge" not in reward_of(replace(report, judge=JUDGE))


def test_a_reasoning_term_that_was_off_is_reported(report: Report) -> None:
    assert "The term reasoning was off" not in reward_of(report)
    off = reward_of(replace(report, reasoning_off={"patients": 1200, "english": 3}))
    assert "The term reasoning was off, with weight 0: of 1,200 patients in the training set, 3 have a note in English." in off


def test_every_fault_has_a_title() -> None:
    assert set(faults.TITLES) == set(Fault)


def test_unparseable_outputs_are_counted_by_fault(report: Report, page: str) -> None:
    missing = sum(record.prediction is None for record in report.predictions["base"])
    assert row_of(page, "faults", "No code could be read").split()[5] == str(missing)


def test_only_faults_that_occurred_are_drawn(report: Report) -> None:
    found = faults.section(report)
    assert found is not None
    groups = {row["group"] for row in found.charts["faults"]["data"]["values"]}
    assert groups == {"No diagnosis", "Cut off at the token limit"}


def steps_of(report: Report, **settings: Any) -> str:
    return " ".join(next_steps(replace(report, settings={"spec": settings})))


def test_next_steps_follow_from_the_numbers(report: Report) -> None:
    limited = steps_of(report, data={"synthetic": {"seed": 1}}, stages={"evaluate": {"maxAdmissions": 80}})
    assert "Train on real notes" in limited
    assert "80 (stages.evaluate.maxAdmissions) are too few to tell sft and grpo apart" in limited
    assert "stages.evaluate.base" not in limited
    assert "maxResponseTokens" not in limited
    lone = replace(report, metrics={"sft": report.metrics["sft"]}, predictions={"sft": report.predictions["sft"]})
    assert "Set stages.evaluate.base to true" in steps_of(lone)
    assert "Raise stages.grpo.maxResponseTokens" in steps_of(lone)
    assert "too few" not in steps_of(lone)


@pytest.mark.parametrize(("last", "advised"), [(0.5, True), (0.3, False)])
def test_a_validation_reward_that_still_rises_asks_for_more_steps(report: Report, last: float, advised: bool) -> None:
    curves = [{"stage": "grpo", "step": step, "validationReward": value} for step, value in enumerate((0.2, 0.4, last))]
    assert ("Train longer" in steps_of(replace(report, curves=curves))) is advised
