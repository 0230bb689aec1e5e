"""Training curves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deepicd.evaluation.report import Report
from deepicd.evaluation.report.sections.training import MOST_POINTS, curve, numbers_of, section, title_of


def rows(steps: int, **values: float) -> list[dict[str, Any]]:
    return [{"stage": "grpo", "step": step, **values} for step in range(1, steps + 1)]


def points(spec: dict[str, Any], series: str) -> list[tuple[int, float]]:
    return [(row["step"], row["value"]) for row in spec["data"]["values"] if row["series"] == series]


def test_the_page_says_which_kl_it_shows(report: Report) -> None:
    found = section(report).html
    assert "KL is verl&#39;s actor/ppo_kl" in found
    assert "KL (actor/ppo_kl)" in found
    other = section(replace(report, kl_name="KL to the reference policy")).html
    assert "KL is to the reference policy" in other
    assert "actor/ppo_kl" not in other


def test_the_page_says_how_sft_ended_if_its_loss_was_validated(report: Report) -> None:
    end = "SFT stopped at step 61 of 90: validation loss 0.88 < 0.9"
    assert "<p>SFT stopped at step 61 of 90: validation loss 0.88 &lt; 0.9.</p>" in section(replace(report, sft_end=end)).html
    assert "SFT stopped" not in section(report).html


def test_every_number_of_the_steps_has_a_chart_and_a_validation_is_in_its_trainings() -> None:
    found = numbers_of(
        [{"step": 1, "stage": "grpo", "gradientNorm": 2.0, "loss": 0.5, "kl": None, "validationReward": 0.3, "terms": {}}]
    )
    assert found == ["reward", "loss", "gradientNorm"]
    assert title_of("gradientNorm") == "Gradient norm"


def test_values_that_are_not_finite_are_not_drawn() -> None:
    spec = curve([*rows(3, loss=0.5), {"stage": "grpo", "step": 4, "loss": float("nan")}], {"training": "loss"}, "Loss")
    assert points(spec, "training") == [(1, 0.5), (2, 0.5), (3, 0.5)]


def axes(spec: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    encoding = spec["layer"][0]["encoding"]
    return encoding["x"]["axis"], encoding["y"]["axis"]


def test_a_curve_of_few_steps_has_a_tick_at_each() -> None:
    assert axes(curve(rows(2, reward=0.5), {"training": "reward"}, "Reward"))[0]["values"] == [1, 2]
    assert "values" not in axes(curve(rows(50, reward=0.5), {"training": "reward"}, "Reward"))[0]


@pytest.mark.parametrize(("value", "form"), [(6.55, ".5~g"), (2.4e-10, ".5~g"), (-1850.0, ",.5~r")])
def test_labels_of_values_have_their_digits_and_large_ones_no_exponent(value: float, form: str) -> None:
    assert axes(curve(rows(2, rate=value), {"training": "rate"}, "Rate"))[1]["format"] == form


def test_a_long_curve_is_smoothed_and_its_few_validations_are_marked() -> None:
    found = rows(61, reward=0.5)
    found[-1]["validationReward"] = 0.7
    spec = curve(found, {"training": "reward", "validation": "validationReward"}, "Reward")
    chosen = [layer["transform"][0]["filter"]["oneOf"] for layer in spec["layer"] if "filter" in layer["transform"][0]]
    assert chosen == [["validation"], ["validation"], ["training"], ["training"]]
    assert any("window" in step for layer in spec["layer"] for step in layer.get("transform", ()))
    short = curve(rows(60, reward=0.5), {"training": "reward"}, "Reward")
    assert not any("window" in step for layer in short["layer"] for step in layer.get("transform", ()))


def test_with_very_many_steps_a_point_is_the_mean_of_several() -> None:
    found = [{"stage": "sft", "step": step, "loss": float(step)} for step in range(1, 2 * MOST_POINTS + 1)]
    drawn = points(curve(found, {"training": "loss"}, "Loss"), "training")
    assert len(drawn) == MOST_POINTS
    assert drawn[0] == (2, 1.5)


def test_the_pointer_shows_the_values_of_all_series() -> None:
    spec = curve(rows(3, reward=0.5, validationReward=0.4), {"training": "reward", "validation": "validationReward"}, "Reward")
    assert [field["field"] for field in spec["layer"][-1]["encoding"]["tooltip"]] == ["step", "training", "validation"]
