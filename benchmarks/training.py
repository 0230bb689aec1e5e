"""Start-up, pace and overhead of GRPO: `deepicd grpo` and bare verl with the same overrides, or with uploads and without.

    python benchmarks/training.py RUN_FOLDER [--rounds 2] [--steps 10]
    python benchmarks/training.py RUN_FOLDER --uploads [--rounds 2] [--steps 45] [--save-every 20]

RUN_FOLDER is a finished run (the quickstart's): its cohort and SFT model are what both train, in turn. Bare verl is
`python -m verl.trainer.main_ppo` with its own synchronous trainer, without guard, supervision or our trainer; the reward
manager is the same, since verl has no reward for codes. --uploads: `deepicd grpo` beside `deepicd sync` to an S3 server, which
has to share this machine's cores, and without it; both save the same checkpoints. Printed: seconds from command to the end of
the first step, mean seconds from step to step (wall clock, from step 2 on), and their ratio.
"""

from __future__ import annotations

import argparse
import os
import runpy
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

from deepicd.run.train import train_grpo
from deepicd.run_layout import RunLayout
from deepicd.spec.load import dump, load
from deepicd.spec.run import DeepICDRun
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.launch import training_environment
from deepicd.training.overrides import TrainingData, grpo_overrides
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import MetricsFile, StepMetrics

Launch = Callable[[DeepICDRun, TrainingData, Path], list[float]]

# By its path: verl installs a package `tests` that hides ours.
_seaweed = runpy.run_path(str(Path(__file__).parents[1] / "tests" / "storage" / "seaweed.py"))
Seaweed, BUCKET = _seaweed["Seaweed"], str(_seaweed["BUCKET"])
ACCESS_KEY, SECRET_KEY = str(_seaweed["ACCESS_KEY"]), str(_seaweed["SECRET_KEY"])


class NeverStop:
    """Ignores signals."""

    requested = False
    insisted = False

    def raise_when_requested(self, wanted: bool) -> None:
        pass


def with_steps(run: DeepICDRun, steps: int, save_every: int) -> DeepICDRun:
    """The run with a GRPO stage of `steps` steps, with checkpoints and without validation."""
    grpo = run.spec.stages.grpo
    if grpo is None:
        raise SystemExit("the run has no GRPO stage")
    changed = grpo.model_copy(update={"max_steps": steps, "save_every_steps": save_every})
    stages = run.spec.stages.model_copy(update={"grpo": changed})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"stages": stages})})


def ours(run: DeepICDRun, data: TrainingData, folder: Path) -> list[float]:
    """Seconds from the command to the end of each step."""
    spec_file = folder / "run.yaml"
    spec_file.write_text(dump(run))
    ends: list[float] = []
    began = time.monotonic()

    def note(row: StepMetrics, total: int | None) -> None:
        if row.step > 0:
            ends.append(time.monotonic() - began)

    assert run.spec.stages.grpo is not None
    train_grpo(run, spec_file, run.spec.stages.grpo, data, folder, NeverStop(), note)
    return ends


def bare(run: DeepICDRun, data: TrainingData, folder: Path) -> list[float]:
    """The same for bare verl."""
    spec_file = folder / "run.yaml"
    spec_file.write_text(dump(run))
    files = StageFiles(folder)
    metrics = folder / "metrics.jsonl"
    assert run.spec.stages.grpo is not None
    overrides = [*grpo_overrides(run, run.spec.stages.grpo, data, files), "trainer.v1.trainer_mode=sync"]
    with tempfile.TemporaryDirectory(prefix="bare-") as scratch:
        began = time.monotonic()
        process = subprocess.Popen(
            [sys.executable, "-m", "verl.trainer.main_ppo", *overrides, f"+ray_kwargs.ray_init._temp_dir={scratch}"],
            env={
                **os.environ,
                **training_environment(spec_file, files, metrics, LocalCheckpoints(files.checkpoints, 2, stored=False)),
                "TMPDIR": scratch,
            },
            stdout=(folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )
        ends: list[float] = []
        rows = MetricsFile(metrics)
        while process.poll() is None:
            ends += [time.monotonic() - began for row in rows.new_steps() if row.step > 0]
            time.sleep(0.5)
    if process.returncode:
        raise SystemExit(f"bare verl failed: see {folder / 'log'}")
    return ends


def uploading(run: DeepICDRun, data: TrainingData, folder: Path) -> list[float]:
    """The same as `ours`, with the uploader running."""
    server = Seaweed(folder / "store")
    server.start()
    try:
        sync = subprocess.Popen(
            [Path(sys.executable).with_name("deepicd"), "sync", "--dir", StageFiles(folder).checkpoints.folder,
             "--store", f"s3://{BUCKET}/benchmark", "--attempt", "1", "--endpoint-url", server.endpoint],
            env={**os.environ, "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
            stderr=(folder / "sync.log").open("wb"),
        )  # fmt: skip
        try:
            return ours(run, data, folder)
        finally:
            sync.terminate()
            sync.wait()
            stored = (folder / "sync.log").read_text().count("stored")
            assert stored, (folder / "sync.log").read_text()
    finally:
        server.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("run", type=Path)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--save-every", type=int)
    parser.add_argument("--uploads", action="store_true")
    options = parser.parse_args()
    steps = options.steps or (45 if options.uploads else 10)
    save_every = options.save_every or (20 if options.uploads else steps)
    run = with_steps(load(RunLayout(options.run).spec), steps, save_every)
    layout = RunLayout(options.run.resolve())
    data = TrainingData(layout.stage("prepare").prompts / "train.parquet", None, layout.stage("sft").model)
    ways: list[tuple[str, Launch]]
    ways = [("uploads", uploading), ("no uploads", ours)] if options.uploads else [("deepicd", ours), ("bare verl", bare)]
    first: dict[str, list[float]] = {name: [] for name, _ in ways}
    pace: dict[str, list[float]] = {name: [] for name, _ in ways}
    for number in range(options.rounds):
        for name, launch in ways:
            with tempfile.TemporaryDirectory() as folder:
                ends = launch(run, data, Path(folder))
            first[name].append(ends[0])
            pace[name].append((ends[-1] - ends[0]) / (len(ends) - 1))
            print(f"round {number + 1}  {name:10} first step {ends[0]:5.1f} s, then {pace[name][-1]:.2f} s a step", flush=True)
    (one, _), (other, _) = ways
    ratio = median(a / b for a, b in zip(pace[one], pace[other], strict=True))
    start = median(a / b for a, b in zip(first[one], first[other], strict=True))
    print(f"{one} / {other}: {ratio:.3f} a step, {start:.3f} to the first step (medians of {options.rounds} pairs)")


if __name__ == "__main__":
    main()
