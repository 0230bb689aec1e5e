"""What a run prints where there is no terminal: every line is logfmt, which this test reads back."""

from __future__ import annotations

import io
import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog

from deepicd.cli import logs
from deepicd.cli.log_progress import LogProgress
from deepicd.data.left_out import LeftOut
from deepicd.phases import Phase, PhaseStart
from deepicd.run.prepare import log_left_out
from deepicd.training.step_metrics import StepMetrics


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """Lines that a function logs."""

    def lines(act: Callable[[LogProgress], None], *, as_json: bool = False) -> list[str]:
        before = structlog.get_config()
        stream = io.StringIO()
        monkeypatch.setattr(sys, "stderr", stream)
        try:
            logs.configure(as_json=as_json)
            act(LogProgress("quickstart", "actor/ppo_kl"))
        finally:
            structlog.configure(**before)
        return stream.getvalue().splitlines()

    return lines


def events(shown: LogProgress) -> None:
    shown.stage_started("grpo")
    shown.phase("grpo", PhaseStart(Phase.VLLM, log=Path("/runs/my run/training.log")))
    shown.phase("grpo", PhaseStart(Phase.STEPS))
    shown.step(
        "grpo", StepMetrics(3, loss=0.12345678901234567, reward=1 / 3, response_tokens=1234.5678, seconds=8.25), 15, 97.4
    )
    log_left_out([LeftOut("traces", 3, 10, 'a tag "inside" = bad')])
    shown.stage_finished("grpo", 123.456, already=False)
    shown.stage_finished("sft", 97.0, already=True)


def read(line: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in shlex.split(line))


def test_every_line_is_parsed_back(printed: Callable[..., list[str]]) -> None:
    found = [read(line) for line in printed(events)]
    assert [line["event"] for line in found] == [
        "stage started", "phase", "step", "left out", "stage finished", "stage finished"
    ]  # fmt: skip
    assert found[1]["phase"] == "vLLM"
    assert found[1]["log"] == "/runs/my run/training.log"
    assert found[2] == {
        "timestamp": found[2]["timestamp"], "level": "info", "event": "step", "run": "quickstart", "stage": "grpo", "step": "3",
        "steps": "15", "loss": "0.1235", "reward": "0.3333", "response_tokens": "1235", "step_seconds": "8.25",
        "eta_seconds": "97",
    }  # fmt: skip
    assert (found[3]["count"], found[3]["of"], found[3]["reason"]) == ("3", "10", 'a tag "inside" = bad')


def test_a_stage_that_was_finished_earlier_says_so_and_others_say_nothing(printed: Callable[..., list[str]]) -> None:
    done, earlier = printed(events)[-2:]
    assert "already" not in done
    assert read(earlier)["already"] == "true"


def test_json_lines_have_the_exact_numbers(printed: Callable[..., list[str]]) -> None:
    step = json.loads(printed(events, as_json=True)[2])
    assert (step["loss"], step["reward"], step["step"]) == (0.12345678901234567, 1 / 3, 3)
