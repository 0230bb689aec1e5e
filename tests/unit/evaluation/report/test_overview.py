"""The first screen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.report import Report, html
from deepicd.evaluation.report.overview import facts, gpu_hours, overview
from tests.unit.evaluation.report.reports import row_of


def test_the_summary_shows_the_metrics(report: Report, page: str) -> None:
    own = report.metrics["grpo"]
    macro = own["levels"]["category"]["macroF1"]
    assert macro["value"] is not None
    assert macro["interval"] is not None
    low, high = macro["interval"]
    assert f"{100 * macro['value']:.1f} {100 * low:.1f} to {100 * high:.1f}" in row_of(page, "summary", "grpo")
    assert f"{own['reward']['mean']['value']:.3f}" in row_of(page, "summary", "grpo")


def test_the_differences_are_paired_and_signed(report: Report, page: str) -> None:
    values = [report.metrics[model]["rates"]["validCode"]["value"] or 0.0 for model in ("sft", "grpo")]
    assert f"+{100 * (values[1] - values[0]):.1f}" in row_of(page, "summary", "grpo − sft")


def test_the_verdict_compares_the_last_two_models(page: str) -> None:
    assert "from SFT at" in page[page.index('class="verdict"') : page.index('class="facts"')]


def test_the_facts_say_what_was_trained_on_what_when_and_where(report: Report) -> None:
    settings = {"spec": {"model": {"path": "org/model"}, "data": {"mimic": {"hosp": "h"}}, "stages": {"sft": {}, "grpo": {}}}}
    assert facts(replace(report, settings=settings)) == {
        "Model": "org/model, SFT then GRPO",
        "Data": "MIMIC-IV, 1,000 admissions for training",
        "Evaluated on": "80 test admissions of 40 patients",
        "Finished": "31 January 2026, 12:00 UTC",
        "Hardware": "4 × NVIDIA H200",
        "Time": "3 min 05 s (prepare, grpo); 0.2 GPU-hours of training",
    }


def test_a_run_on_cpus_has_no_gpu_hours(report: Report) -> None:
    found = facts(replace(report, hardware={"name": "A CPU", "cores": 2}))
    assert found["Hardware"] == "2 CPU cores (A CPU), no GPU"
    assert "GPU" not in found["Time"]


def test_what_an_earlier_version_did_not_record_is_absent(report: Report) -> None:
    assert list(facts(replace(report, finished=None, hardware=None, stage_seconds={}, prompts=None))) == ["Evaluated on"]


def test_gpu_hours_count_the_judge_in_grpo_and_all_steps_of_a_resumed_stage(report: Report) -> None:
    curves: list[dict[str, Any]] = [{"stage": "sft", "step": step, "seconds": 1800.0} for step in (1, 2)]
    resumed = replace(
        report, curves=curves, stage_seconds={"sft": 60.0, "grpo": 3600.0}, hardware={"name": "X", "gpus": 2, "judgeGpus": 1}
    )
    assert gpu_hours(resumed) == pytest.approx(2 * 1 + 3 * 1)


@pytest.mark.parametrize("as_text", [False, True])
def test_synthetic_data_are_named_in_the_banner_before_the_title(report: Report, page: str, as_text: bool) -> None:
    settings: Any = {"spec": {"data": {"synthetic": {"admissions": 9}}}}
    warned = str(overview(replace(report, settings=yaml.safe_dump(settings) if as_text else settings)))
    assert "Synthetic data" in warned[: warned.index("<h1>")]
    assert "Synthetic data" not in page[: page.index("<h1>")]


def test_warnings_come_before_the_table(report: Report, page: str) -> None:
    assert "cut off at the token limit" in page[page.index('class="warnings"') : page.index('id="summary"')]


def test_codes_of_other_years_and_local_gold_codes_are_reported(report: Report) -> None:
    records = [
        replace(record, gold="ZZ999", prediction="K859", local_gold=True, fiscal_years=(2017, 2020))
        if record is report.predictions["base"][0]
        else record
        for record in report.predictions["base"]
    ]
    page = html(replace(report, metrics={"base": compute(records, bootstrap_samples=0)}, predictions={"base": records}))
    assert "1 test admissions have a gold code that no release of ICD-10-CM has as billable" in page
    assert "0 gold codes; 100.0 % of the answers of base" in page
    assert "Local codes of no chapter" in page


def test_metrics_of_an_earlier_version_have_no_years(report: Report) -> None:
    old = {
        name: {key: value for key, value in own.items() if key != "goldOutsideYears"} for name, own in report.metrics.items()
    }
    assert "in none of the years" not in overview(replace(report, metrics=old))  # type: ignore[arg-type]


def test_a_reward_without_its_judge_is_called_so(report: Report) -> None:
    assert "Reward without judge" not in overview(report)
    unjudged = {
        name: compute(records, bootstrap_samples=0, reward_name="reward_without_judge")
        for name, records in report.predictions.items()
    }
    assert "Reward without judge" in overview(replace(report, metrics=unjudged))
