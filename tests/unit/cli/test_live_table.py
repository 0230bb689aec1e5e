from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from deepicd.cli.live_table import LiveProgress
from deepicd.phases import Phase, PhaseStart
from deepicd.training.step_metrics import StepMetrics


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def progress(width: int, clock: Clock) -> LiveProgress:
    console = Console(width=width, file=io.StringIO(), force_terminal=True, color_system=None)
    return LiveProgress(console, "KL to the reference policy", clock)


def lines(shown: LiveProgress, width: int) -> list[str]:
    out = io.StringIO()
    Console(width=width, file=out, force_terminal=True, color_system=None).print(shown.view())
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("width", [80, 120])
def test_a_stage_shows_its_phase_its_log_and_its_time_before_the_first_step(
    width: int, clock: Clock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = progress(width, clock)
    shown.stage_started("grpo")
    log = tmp_path / "runs" / "quickstart" / "stages" / "grpo" / "training.log"
    shown.phase("grpo", PhaseStart(Phase.IMPORTS, log=log))
    clock.now = 12.0
    shown.phase("grpo", PhaseStart(Phase.VLLM, log=log))
    clock.now = 15.0
    found = lines(shown, width)
    assert found[1].split() == ["grpo", "15s"]
    assert "grpo: vLLM 3s" in found
    assert "after imports 12s" in found
    assert "log: runs/quickstart/stages/grpo/training.log" in found


def whole_run(shown: LiveProgress, clock: Clock) -> None:
    shown.stage_finished("prepare", 10, already=False)
    shown.stage_started("sft")
    shown.step("sft", StepMetrics(130, loss=0.8123), 130, 0.0)
    shown.stage_finished("sft", 97.0, already=True)
    shown.stage_started("grpo")
    shown.phase("grpo", PhaseStart(Phase.STEPS, log=Path("/very/long" * 12) / "training.log"))
    for step in range(1, 13):
        clock.now += 8
        row = StepMetrics(
            step, loss=-0.0123, reward=-1.234 + step / 100, kl=0.00012, seconds=8.1, response_tokens=1012, format_rate=1.0,
            truncated=0.12, validation_reward=-1.111,
        )  # fmt: skip
        shown.step("grpo", row, 1500, 8.1 * (1500 - step))


@pytest.mark.parametrize("width", [80, 100, 120])
def test_no_line_is_wider_than_the_terminal_and_every_stage_is_one_line(width: int, clock: Clock) -> None:
    shown = progress(width, clock)
    whole_run(shown, clock)
    found = lines(shown, width)
    assert max(map(len, found)) <= width
    assert [line.split()[0] for line in found[:4]] == ["STAGE", "prepare", "sft", "grpo"]


def test_120_columns_show_more_than_80(clock: Clock) -> None:
    heads = []
    for width in (80, 120):
        shown = progress(width, clock)
        whole_run(shown, clock)
        heads.append(set(lines(shown, width)[0].split()))
    assert {"STEP", "S/STEP", "ETA", "LOSS", "REWARD", "TREND", "LEN", "FORMAT", "TIME"} <= heads[0] < heads[1]
    assert heads[1] - heads[0] == {"TRUNC", "VALID", "KL"}


def test_what_a_signal_leads_to_is_shown_at_once(clock: Clock) -> None:
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system=None)
    with LiveProgress(console, "KL", clock) as shown:
        shown.stage_started("grpo")
        shown.stopping(1, "Saving at the end of this step, about 40 s")
        assert "Saving at the end of this step, about 40 s" in console.file.getvalue()  # type: ignore[attr-defined]
