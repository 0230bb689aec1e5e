from __future__ import annotations

import pytest

from deepicd.cli.stage_view import BASE, StageView, Trend, columns, show_number, show_seconds
from deepicd.phases import Phase, PhaseStart
from deepicd.training.step_metrics import StepMetrics


@pytest.mark.parametrize(("seconds", "text"), [(None, ""), (0, "0s"), (75, "1m15s"), (59.6, "1m00s"), (3725, "1h02m")])
def test_seconds_are_shown_in_two_units(seconds: float | None, text: str) -> None:
    assert show_seconds(seconds) == text


@pytest.mark.parametrize(("value", "text"), [(None, ""), (0.0, "0.000"), (0.4567, "0.457"), (-0.00012, "-1.2e-04")])
def test_tiny_numbers_keep_their_digits(value: float | None, text: str) -> None:
    assert show_number(value) == text


def test_the_trend_is_the_value_minus_the_mean_of_those_before() -> None:
    trend = Trend(steps=2)
    assert [trend.add(value) for value in (1.0, 2.0, 4.0, 5.0)] == [None, None, 2.5, 2.0]


def test_a_grpo_step_fills_every_column() -> None:
    stage = StageView(0.0)
    for step in (1, 2, 3):
        row = StepMetrics(
            step, loss=-0.00012, reward=0.1 * step, kl=0.002, seconds=7.94, response_tokens=63.4, format_rate=0.875,
            truncated=0.25,
        )  # fmt: skip
        stage.step(row, 15, 8.0 * (15 - step))
    assert stage.cells("grpo", 75.0) == {
        "STAGE": "grpo", "STEP": "3/15", "S/STEP": "7.9", "ETA": "1m36s", "LOSS": "-1e-4", "REWARD": "0.300",
        "TREND": "+0.150", "LEN": "63", "FORMAT": "88 %", "TRUNC": "25 %", "KL": "0.002", "TIME": "1m15s",
    }  # fmt: skip


def test_an_sft_step_has_the_trend_of_its_loss_and_a_pace_by_the_time_left() -> None:
    stage = StageView(0.0)
    for step, loss in ((1, 3.0), (2, 2.0), (3, 1.0)):
        stage.step(StepMetrics(step, loss=loss), 13, 0.4 * (13 - step))
    cells = stage.cells("sft", 1.0)
    assert (cells["TREND"], cells["S/STEP"], "REWARD" in cells) == ("-1.500", "0.40", False)


def test_a_validation_keeps_what_the_steps_said() -> None:
    stage = StageView(0.0)
    stage.step(StepMetrics(1, reward=0.5, loss=0.1), 3, None)
    stage.step(StepMetrics(1, validation_loss=0.4), 3, None)
    assert (stage.cells("grpo", 0)["REWARD"], stage.cells("grpo", 0)["LOSS"]) == ("0.500", "0.100")


def test_an_sft_step_with_a_validation_has_its_loss_in_a_column_of_its_own() -> None:
    stage = StageView(0.0)
    stage.step(StepMetrics(10, loss=0.4, validation_loss=0.5), 30, None)
    stage.step(StepMetrics(11, loss=0.3), 30, None)
    cells = stage.cells("sft", 0)
    assert (cells["LOSS"], cells["VALID"]) == ("0.300", "0.500")


def test_a_phase_has_its_time_and_those_before_it_theirs() -> None:
    stage = StageView(0.0)
    assert stage.phase(5.0) == ""
    for phase, now in ((Phase.IMPORTS, 0.0), (Phase.RAY, 12.0), (Phase.MODEL, 21.0)):
        stage.enter(PhaseStart(phase), now)
    assert stage.phase(24.0) == "model 3s"
    assert stage.before(80) == "after imports 12s, Ray 9s"
    assert stage.before(18) == "after …, Ray 9s"
    stage.enter(PhaseStart(Phase.STEPS), 30.0)
    assert (stage.phase(31.0), stage.before(80)) == ("steps 1s", "")


def test_a_stage_that_was_finished_earlier_says_so() -> None:
    done, earlier = StageView(0.0), StageView(0.0)
    done.finish(75, already=False)
    earlier.finish(75, already=True)
    assert [stage.cells("sft", 99)["ETA"] for stage in (done, earlier)] == ["done", "earlier"]
    assert not done.running
    assert done.cells("sft", 99)["TIME"] == "1m15s"


USUAL = {
    "STAGE": "evaluate", "STEP": "130/1300", "S/STEP": "18.4", "ETA": "12m30s", "LOSS": "-0.012", "REWARD": "-1.431",
    "TREND": "+0.012", "LEN": "1024", "FORMAT": "100 %", "TIME": "2h07m", "TRUNC": "12 %", "VALID": "-0.512", "KL": "0.012",
}  # fmt: skip


def shown_width(names: list[str], gap: int, row: dict[str, str]) -> int:
    return sum(max(len(name), len(row[name])) for name in names) + gap * (len(names) - 1)


def test_80_columns_hold_the_base_columns_and_120_all() -> None:
    narrow, _ = columns([USUAL], 80)
    wide, gap = columns([USUAL], 120)
    assert tuple(narrow) == BASE
    assert (set(wide), gap) == (set(USUAL), 2)
    assert len(narrow) < len(wide)


@pytest.mark.parametrize("width", [50, 60, 80, 100, 120])
@pytest.mark.parametrize("step", ["1/1", "1200/14000", "120000/140000"])
def test_the_columns_never_exceed_the_width(width: int, step: str) -> None:
    row = {**USUAL, "STEP": step, "ETA": "123h45m"}
    names, gap = columns([row], width)
    assert shown_width(names, gap, row) <= width
    assert {"STAGE", "STEP", "TIME"} <= set(names)


def test_a_steps_diagnostics_are_shown_in_words() -> None:
    stage = StageView(0.0)
    stage.step(
        StepMetrics(
            3, gradient_norm=0.52, entropy=1.234, clipped=0.01, rollout_difference=0.0004, groups_without_variance=0.25,
            tokens_per_second=12345.6, mfu=0.41, gpu_memory=61.53, gpu_hours=1.26, gpu_hours_left=30.04,
        ),
        15, None,
    )  # fmt: skip
    stage.step(StepMetrics(3, validation_reward=0.5), 15, None)
    assert stage.diagnostics() == (
        "gradient 0.520, entropy 1.234, clipped 1 %, off vLLM by 4e-4, groups without variance 25 %, tokens/s 12,346, "
        "MFU 41 %, GPU memory 61.5 GiB, GPU-hours 1.3, GPU-hours left 30.0"
    )


def test_what_a_step_does_not_know_is_not_shown() -> None:
    stage = StageView(0.0)
    stage.step(StepMetrics(3, gradient_norm=0.52), 15, None)
    assert stage.diagnostics() == "gradient 0.520"


def test_distillation_has_columns_of_its_own_which_other_runs_do_not_show() -> None:
    stage = StageView(0.0)
    stage.step(StepMetrics(500, kept=0.876, rate=12.34, cost=3.2109, waiting=4), 2000, 120.0)
    cells = stage.cells("distill", 60.0)
    assert (cells["STEP"], cells["KEPT"], cells["ANSWERS/S"], cells["COST"]) == ("500/2000", "88 %", "12.3", "3.21")
    assert {"KEPT", "ANSWERS/S", "COST"} <= set(columns([cells], 120)[0])
    assert not {"KEPT", "ANSWERS/S", "COST"} & set(columns([{"STAGE": "sft"}], 120)[0])
    assert columns([cells], 80)[0][-1] == "TIME"


def test_columns_of_training_are_left_out_until_a_stage_trains() -> None:
    distill, sft = StageView(0.0), StageView(0.0)
    distill.step(StepMetrics(500, kept=0.876, rate=12.34, cost=3.2109), 2000, 120.0)
    rows = [{"STAGE": "prepare"}, distill.cells("distill", 60.0)]
    assert columns(rows, 80)[0] == ["STAGE", "STEP", "S/STEP", "ETA", "KEPT", "ANSWERS/S", "COST", "TIME"]
    sft.step(StepMetrics(1, loss=2.5), 100, None)
    assert {"LOSS", "REWARD", "KEPT"} <= set(columns([*rows, sft.cells("sft", 61.0)], 120)[0])
