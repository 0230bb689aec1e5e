"""Does GRPO beat the SFT model it starts from? Several seeds, on held-out patients.

    python benchmarks/learning.py [--seeds 3] [--dir FOLDER]

The run is the quickstart's with less SFT, more GRPO and the whole test split (`CHANGES`): at the quickstart's own size, 15
steps of 8 prompts, the difference drowns in the noise of a few hundred admissions. Each seed has its own admissions, split,
weights and sampling. Printed per seed: held-out reward (sampled) and category macro F1 (greedy) of both models, and their
difference with its 95 % interval (paired, by patient); then the mean difference over the seeds with two 95 % intervals: over
patients, for these seeds, and over seeds (Student's t with n - 1 degrees of freedom). A run that exists in FOLDER is not
repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import yaml

from deepicd.evaluation import metrics, predictions
from deepicd.run_layout import RunLayout

QUICKSTART = Path(__file__).parents[1] / "manifests" / "samples" / "quickstart.yaml"
CHANGES: dict[str, dict[str, object]] = {
    "sft": {"maxSteps": 100},
    "grpo": {"trainBatchSize": 16, "ppoMiniBatchSize": 8, "learningRate": 4.0e-5, "maxSteps": 45, "saveEverySteps": 45,
             "validateEverySteps": 15},
    "evaluate": {"maxAdmissions": None},
}  # fmt: skip
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""97.5 % points of Student's t for n - 1 degrees of freedom, by n."""
SHOWN = {"reward": "reward", "category.macroF1": "category macro F1"}


def run_seed(seed: int, folder: Path) -> Path:
    """Run with a seed; returns the run's folder."""
    content = yaml.safe_load(QUICKSTART.read_text())
    content["metadata"]["name"] = f"seed-{seed}"
    content["spec"]["seed"] = 42 + seed
    content["spec"]["model"]["tiny"]["seed"] = seed
    content["spec"]["data"]["synthetic"]["seed"] = seed
    content["spec"]["data"]["split"] = {"seed": 42 + seed}
    for stage, changes in CHANGES.items():
        content["spec"]["stages"][stage] |= changes
    file = folder / f"seed-{seed}.yaml"
    file.write_text(yaml.safe_dump(content))
    run = folder / f"seed-{seed}"
    command = [str(Path(sys.executable).with_name("deepicd")), "run", str(file), "--dir", str(run)]
    with (folder / f"seed-{seed}.log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3, choices=sorted(T_95))
    parser.add_argument("--dir", type=Path, default=Path("runs/benchmark-learning"))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    differences: dict[str, list[float]] = {name: [] for name in SHOWN}
    halves: dict[str, list[float]] = {name: [] for name in SHOWN}
    for seed in range(options.seeds):
        run = run_seed(seed, options.dir)
        answers = predictions.read(RunLayout(run).evaluation.predictions)
        compared = metrics.compare(answers["sft"], answers["grpo"], seed=seed)["differences"]
        levels = json.loads(RunLayout(run).evaluation.metrics.read_text())
        for name, title in SHOWN.items():
            before, after = (value_of(levels[model], name) for model in ("sft", "grpo"))
            found = compared[name]
            assert found["value"] is not None
            differences[name].append(found["value"])
            interval = found["interval"]
            halves[name].append((interval[1] - interval[0]) / 2 if interval else math.nan)
            shown = f"[{interval[0]:+.3f}, {interval[1]:+.3f}]" if interval else ""
            print(f"seed {seed}  {title:18} sft {before:.3f}  grpo {after:.3f}  {found['value']:+.3f} {shown}", flush=True)
    for name, title in SHOWN.items():
        values = differences[name]
        half = T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
        mean = statistics.fmean(values)
        # The seeds' test patients are different people: their errors are independent.
        patients = math.sqrt(sum(value**2 for value in halves[name])) / len(values)
        print(
            f"mean    {title:18} {mean:+.3f}  over patients [{mean - patients:+.3f}, {mean + patients:+.3f}]  "
            f"over {len(values)} seeds [{mean - half:+.3f}, {mean + half:+.3f}]"
        )


def value_of(found: dict[str, dict[str, dict[str, dict[str, float]]]], name: str) -> float:
    """A headline of metrics.json by the name that `metrics.compare` uses."""
    if name == "reward":
        return found["reward"]["mean"]["value"]  # type: ignore[return-value]
    level, measure = name.split(".")
    return found["levels"][level][measure]["value"]


if __name__ == "__main__":
    main()
