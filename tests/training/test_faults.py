"""What ends a run, provoked in the real training stack: the exit code and the message."""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import GRPO, SFT, write_run, write_traces

pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]
FAULTS = Path(__file__).parent / "faults"


def start(cohort: Path, folder: Path, fault: str | None = None, **grpo: Any) -> DeepicdProcess:
    spec = {"recovery": {"stallAfter": "2m"}} if fault == "packed_weights" else {}
    stages = {"grpo": {**GRPO, **grpo}, "evaluate": None}
    run = write_run(folder / "run.yaml", "fault", {"prepared": str(cohort)}, stages, **spec)
    return DeepicdProcess("run", str(run), "--dir", str(folder / "run"), fault=(fault and FAULTS / fault) or None)


def error_of(process: DeepicdProcess) -> str:
    return next(line for line in process.text.splitlines() if line.startswith("error: "))


@pytest.fixture(scope="module")
def raised(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[DeepicdProcess, str]:
    """A run whose reward code raised with a note in the exception, and its training log."""
    folder = tmp_path_factory.mktemp("raised")
    process = start(cohort, folder, "broken_reward")
    process.finish()
    return process, (folder / "run" / "stages" / "grpo" / "training.log").read_text()


# The reward manager's part: tests/unit/training/test_reward_manager.py.
@pytest.mark.long
def test_a_raising_reward_ends_the_run_and_is_not_scored_0(raised: tuple[DeepicdProcess, str]) -> None:
    process, _ = raised
    assert process.process.returncode == 70
    assert "the reward code raised KeyError at " in error_of(process)
    assert process.steps("grpo") == []


@pytest.mark.long
def test_a_raising_reward_does_not_show_the_note_it_raised_with(raised: tuple[DeepicdProcess, str]) -> None:
    process, log = raised
    assert "the reward code raised KeyError" in log
    assert "Complaint" not in process.text
    assert "Complaint" not in log


@pytest.mark.long
def test_a_vllm_worker_that_fails_silently_ends_the_run_as_stalled(cohort: Path, tmp_path: Path) -> None:
    process = start(cohort, tmp_path, "packed_weights")
    assert process.finish() in (70, 75)
    assert "run again to resume from the last checkpoint" in error_of(process)


# A rank: test_tied_and_lora.py.
@pytest.mark.long
def test_a_killed_engine_ends_the_run(cohort: Path, tmp_path: Path) -> None:
    process = start(cohort, tmp_path, maxSteps=1000)
    process.wait_for_step("grpo", 1)
    tree = process.tree()
    next(child for child in tree if "".join(child.cmdline()[:1]).startswith("VLLM::EngineCore")).kill()
    assert process.finish() == 70
    assert process.left_behind(tree) == []


@pytest.mark.long
def test_a_second_signal_leaves_amid_a_step_and_leaves_nothing_behind(cohort: Path, tmp_path: Path) -> None:
    process = start(cohort, tmp_path, maxSteps=1000, rollouts=64, maxResponseTokens=256)
    process.wait_for_step("grpo", 1)
    tree = process.tree()
    for _ in range(2):
        process.process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
    assert process.finish() == 143
    assert process.left_behind(tree) == []
    said = [line["event"] for line in process.lines if "signals" in line]
    assert said[-1] == "Exiting immediately: the processes of grpo are being ended"


@pytest.mark.long
def test_a_run_continues_if_rays_node_dies_before_the_first_step(cohort: Path, tmp_path: Path) -> None:
    process = start(cohort, tmp_path, maxSteps=1)
    node = process.wait_for_worker("raylet")
    time.sleep(2)  # the supervisor has seen it by then
    node.send_signal(signal.SIGKILL)
    assert process.finish() == 0
    assert "Ray did not start, trying again" in [line.get("event") for line in process.lines]
    assert process.steps("grpo")[-1] == 1


@pytest.mark.parametrize("stage", ["sft", pytest.param("grpo", marks=pytest.mark.long)])
def test_a_loss_that_is_not_finite_is_for_the_user_to_fix(stage: str, cohort: Path, tmp_path: Path) -> None:
    diverging = {**(SFT if stage == "sft" else GRPO), "learningRate": 1e30, "warmupSteps": 0, "maxSteps": 30}
    data = {"prepared": str(cohort), "traces": str(write_traces(tmp_path / "traces.jsonl", cohort))}
    run = write_run(tmp_path / "run.yaml", "diverging", data, {stage: diverging, "evaluate": None})
    process = DeepicdProcess("run", str(run), "--dir", str(tmp_path / "run"))
    assert process.finish() == 64
    assert "is not a finite number" in error_of(process)
