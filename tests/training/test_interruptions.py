"""A run interrupted in each of its stages, by SIGTERM or by SIGKILL, gives the same result as an uninterrupted one."""

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
    "sft": {**SFT, "learningRate": 5e-3, "maxSteps": 100, "saveEverySteps": 30},
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
    """A small run.yaml of all stages. Its SFT has steps enough for a signal to arrive between them."""
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


INTERRUPTIONS: list[tuple[str, int | None]] = [
    ("prepare", None), ("sft", None), ("sft", 3), ("grpo", None), ("grpo", 3), ("evaluate", None),
]  # fmt: skip
"""Stage, and the step after which it is interrupted; None: at its start."""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_interrupted_in_each_stage_ends_as_one_that_was_not(
    run: Path, undisturbed: Curves, tmp_path: Path, signum: signal.Signals
) -> None:
    command = ("run", str(run), "--dir", str(tmp_path / "run"))
    for stage, step in INTERRUPTIONS:
        process = DeepicdProcess(*command)
        if step is None:
            process.wait_for_stage(stage)
        else:
            process.wait_for_step(stage, step)
        tree = process.tree()
        process.process.send_signal(signum)
        code = process.finish()
        assert code == (-signum if signum == signal.SIGKILL else 143), (stage, step, process.text[-3000:])
        assert process.left_behind(tree) == [], (stage, step)
    last = DeepicdProcess(*command)
    assert last.finish() == 0, last.text[-3000:]
    assert curves(tmp_path / "run") == undisturbed
    assert (tmp_path / "run" / "evaluate" / "report.html").exists()
