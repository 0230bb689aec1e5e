from __future__ import annotations

from collections.abc import Sequence

import pytest

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.metrics_schema import Metrics
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.warnings import warnings

GOLD = ("I10", "J189")


def model(
    rewards: Sequence[float],
    outcomes: Sequence[float] | None = None,
    *,
    right: int = 100,
    truncated: int = 0,
    samples: int = 100,
) -> Metrics:
    """Metrics of 100 admissions, the first `right` of them answered rightly and the first `truncated` cut off."""
    records = [
        Prediction(
            str(number), str(number), GOLD[number % 2], GOLD[number % 2] if number < right else None,
            ("truncated",) if number < truncated else (), rewards[number % len(rewards)],
            {} if outcomes is None else {"outcome": outcomes[number % len(outcomes)]},
        )
        for number in range(100)
    ]  # fmt: skip
    return compute(records, bootstrap_samples=samples, seed=1)


def test_metrics_without_anything_remarkable_have_no_warning() -> None:
    assert warnings({"sft": model([0.5, 0.4], [0.5, 0.4]), "grpo": model([0.8, 0.7], [0.8, 0.7])}, synthetic=False) == []


def test_synthetic_data_are_the_first_warning() -> None:
    found = warnings({"base": model([0.0], right=0)}, synthetic=True)
    assert found[0].startswith("Synthetic data")
    assert found[1].startswith("All scores are 0")


def test_all_scores_0_is_said_of_all_models_or_of_the_last() -> None:
    nothing, something = model([0.0], right=0), model([0.5], right=60)
    assert warnings({"sft": nothing, "grpo": nothing}, synthetic=False)[0].startswith("All scores are 0: no model")
    assert warnings({"sft": something, "grpo": nothing}, synthetic=False)[0].startswith("All scores of grpo are 0")
    assert warnings({"base": nothing, "sft": something}, synthetic=False) == []


@pytest.mark.parametrize(("truncated", "warned"), [(10, False), (11, True)])
def test_more_than_a_tenth_of_truncated_completions_is_said_by_model(truncated: int, warned: bool) -> None:
    found = warnings({"sft": model([0.5]), "grpo": model([0.5], truncated=truncated)}, synthetic=False)
    assert [("grpo 11.0 %" in line, "sft" in line.partition("): ")[2]) for line in found] == ([(True, False)] if warned else [])


@pytest.mark.parametrize("samples", [0, 100])
@pytest.mark.parametrize(
    ("reward", "outcome", "warned"),
    [([0.8, 0.9], [0.3, 0.3], True), ([0.8, 0.9], [0.7, 0.8], False), ([0.3, 0.4], [0.3, 0.3], False)],
    ids=["only the reward rose", "both rose", "neither rose"],
)
def test_a_reward_that_rose_without_right_codes_is_said(
    reward: list[float], outcome: list[float], warned: bool, samples: int
) -> None:
    metrics = {"sft": model([0.3, 0.4], [0.3, 0.3], samples=samples), "grpo": model(reward, outcome, samples=samples)}
    found = warnings(metrics, synthetic=False)
    assert bool(found) is warned
    assert all("from sft to grpo (+0.500)" in line and "30.0 % to 30.0 %" in line for line in found)


def test_a_rise_within_the_intervals_is_chance() -> None:
    metrics = {"sft": model([0.0, 1.0], [0.5, 0.5]), "grpo": model([0.02, 1.0], [0.5, 0.5])}
    assert warnings(metrics, synthetic=False) == []


def test_without_a_term_for_right_codes_accuracy_decides() -> None:
    metrics = {"sft": model([0.3], right=50), "grpo": model([0.9], right=50)}
    assert "50.0 % to 50.0 %" in warnings(metrics, synthetic=False)[0]


def left_out(what: str, count: int, *, by_choice: bool = False) -> dict[str, object]:
    return {"what": what, "count": count, "of": 1000, "reason": f"reason {count}", "by_choice": by_choice}


def test_more_than_a_twentieth_lost_is_said_with_the_main_reason() -> None:
    metrics = {"sft": model([0.5])}
    assert warnings(metrics, synthetic=False, left_out=[left_out("admissions", 20), left_out("admissions", 30)]) == []
    assert warnings(metrics, synthetic=False, left_out=[left_out("admissions", 20), left_out("admissions", 31)]) == [
        "5.1 % of the admissions were lost (51 of 1,000), most for one reason: reason 31."
    ]


def test_what_the_task_or_a_setting_excludes_is_no_loss() -> None:
    assert warnings({"sft": model([0.5])}, synthetic=False, left_out=[left_out("admissions", 900, by_choice=True)]) == []


def test_few_completions_of_the_required_form_are_said_of_trained_models() -> None:
    formless, formed = model([0.5], truncated=51), model([0.5], truncated=50)
    assert "Fewer than 50 % of the completions have the required format: sft 49.0 %." in warnings(
        {"sft": formless}, synthetic=False
    )
    assert not any("required format" in line for line in warnings({"base": formless, "sft": formed}, synthetic=False))


def test_too_few_patients_for_intervals_are_said() -> None:
    records = [Prediction(str(number), str(number % 2), "I10", "I10") for number in range(50)]
    [line] = warnings({"sft": compute(records)}, synthetic=False)
    assert "fewer than 6 patients" in line


def test_a_reward_that_differs_between_another_model_and_a_trained_one_has_not_risen() -> None:
    low, high = model([0.1, 0.0], [0.5, 0.4]), model([0.9, 0.8], [0.5, 0.4])
    assert warnings({"released": low, "sft": high}, synthetic=False) == []
    assert warnings({"released": low, "sft": low, "grpo": high}, synthetic=False)[0].startswith(
        "The reward rose from sft to grpo"
    )
