"""Does GRPO beat the SFT model that it starts from? The quickstart with several seeds, on held-out patients.

    python benchmarks/learning.py [--seeds 6] [--dir FOLDER]

Seed 0 is the quickstart itself. Each seed has its own codes, admissions, split, weights and sampling. Printed per seed:
held-out reward (sampled), macro F1 and rates (greedy) of both models, and the differences of reward and macro F1 with their
95 % intervals (paired, by patient); then the mean differences over the seeds with two 95 % intervals: over patients, for these
seeds, and over seeds (Student's t with n - 1 degrees of freedom). A run that exists in FOLDER is not repeated.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from deepicd.evaluation import metrics, predictions
from deepicd.run_layout import RunLayout

QUICKSTART = Path(__file__).parents[1] / "manifests" / "samples" / "quickstart.yaml"
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""97.5 % points of Student's t for n - 1 degrees of freedom, by n."""
SHOWN = {"reward": "reward", "category.macroF1": "category macro F1", "code.macroF1": "full-code macro F1"}


def run_seed(seed: int, folder: Path) -> Path:
    """Run the quickstart with a seed; returns the run's folder."""
    content = yaml.safe_load(QUICKSTART.read_text())
    content["metadata"]["name"] = f"seed-{seed}"
    content["spec"]["seed"] = 42 + seed
    content["spec"]["model"]["tiny"]["seed"] = seed
    content["spec"]["data"]["synthetic"]["seed"] = seed
    content["spec"]["data"]["split"] = {"seed": 42 + seed}
    file = folder / f"seed-{seed}.yaml"
    file.write_text(yaml.safe_dump(content))
    run = folder / f"seed-{seed}"
    command = [str(Path(sys.executable).with_name("deepicd")), "run", str(file), "--dir", str(run)]
    with (folder / f"seed-{seed}.log").open("wb") as log:
        subprocess.run(command, check=True, stdout=log, stderr=log)
    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=6, choices=sorted(T_95))
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
        rates = [(model, levels[model]["rates"]) for model in ("sft", "grpo")]
        print(
            f"seed {seed}  "
            + "; ".join(
                f"{model}: format {found['format']['value']:.2f}, truncated {found['faults']['truncated']['value']:.2f}"
                for model, found in rates
            ),
            flush=True,
        )
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


def value_of(found: dict[str, Any], name: str) -> float:
    """A headline of metrics.json by the name that `metrics.compare` uses."""
    if name == "reward":
        return float(found["reward"]["mean"]["value"])
    level, measure = name.split(".")
    return float(found["levels"][level][measure]["value"])


if __name__ == "__main__":
    main()
