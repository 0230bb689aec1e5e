"""A run interrupted in any of its stages, by SIGTERM or SIGKILL, gives the same result as an uninterrupted one."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest

from deepicd.training.step_metrics import all_steps
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import GRPO, SFT, write_run, write_tables_with_canary

pytestmark = [pytest.mark.training, pytest.mark.long, pytest.mark.timeout(1800)]

STAGES: dict[str, dict[str, Any]] = {
    "sft": {**SFT, "learningRate": 5e-3},
    "grpo": {**GRPO, "ppoMiniBatchSize": 2, "maxResponseTokens": 64, "saveEverySteps": 2},
    "evaluate": {"maxAdmissions": 8, "samples": 1, "bootstrapSamples": 0},
}
MEASURED = ("reward", "loss", "kl", "responseTokens")

Curves = dict[str, dict[int, list[Any]]]
"""By training stage what each step measures, but for the time it takes."""


def curves(folder: Path) -> Curves:
    return {
        stage: {
            row.step: [row.to_json()[name] for name in MEASURED]
            for row in all_steps(folder / "stages" / stage / "metrics")
            if row.step > 0
        }
        for stage in ("sft", "grpo")
    }


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run.yaml of all stages."""
    home = tmp_path_factory.mktemp("interruptions")
    write_tables_with_canary(home / "tables")
    tables = home / "tables"
    mimic = {"hosp": str(tables / "hosp"), "note": str(tables / "note")}
    data = {"mimic": mimic, "traces": str(tables / "traces.jsonl")}
    return write_run(home / "run.yaml", "interrupted", data, STAGES)


@pytest.fixture(scope="module")
def undisturbed(run: Path) -> Curves:
    """What the run measures without an interruption."""
    process = DeepicdProcess("run", str(run), "--dir", str(run.parent / "undisturbed"))
    assert process.finish() == 0, process.text[-3000:]
    made = curves(run.parent / "undisturbed")
    assert {stage: max(rows) for stage, rows in made.items()} == {stage: STAGES[stage]["maxSteps"] for stage in made}
    return made


AT_ITS_START: list[tuple[str, int | None, signal.Signals]] = [
    (stage, None, signum)
    for stage in ("prepare", "sft", "grpo", "evaluate")
    for signum in (signal.SIGTERM, signal.SIGKILL)
]  # fmt: skip


# Amid the other steps of training: test_interrupted_run.py.
@pytest.mark.parametrize(("stage", "step", "signum"), [*AT_ITS_START, ("sft", 3, signal.SIGKILL)])
def test_a_run_interrupted_anywhere_ends_as_one_that_was_not(
    run: Path, undisturbed: Curves, tmp_path: Path, stage: str, step: int | None, signum: signal.Signals
) -> None:
    command = ("run", str(run), "--dir", str(tmp_path / "run"))
    process = DeepicdProcess(*command)
    if step is None:
        process.wait_for_stage(stage)
    else:
        process.wait_for_step(stage, step)
    tree = process.tree()
    process.process.send_signal(signum)
    assert process.finish() == (-signum if signum == signal.SIGKILL else 143), process.text[-3000:]
    assert process.left_behind(tree) == []
    again = DeepicdProcess(*command)
    assert again.finish() == 0, again.text[-3000:]
    assert curves(tmp_path / "run") == undisturbed
    assert (tmp_path / "run" / "evaluate" / "report.html").exists()
