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
from pathlib import Path
from typing import Any

from benchmarks import seeds
from deepicd.evaluation import metrics, predictions
from deepicd.evaluation.metrics_schema import Measure
from deepicd.run_layout import RunLayout

SHOWN = {"reward": "reward", "category.macroF1": "category macro F1", "code.macroF1": "full-code macro F1"}


def run_seed(seed: int, folder: Path) -> Path:
    """Run the quickstart with a seed; returns the run's folder."""
    content = seeds.quickstart(seed)
    content["metadata"]["name"] = f"seed-{seed}"
    return seeds.run(content, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=6, choices=sorted(seeds.T_95))
    parser.add_argument("--dir", type=Path, default=Path("runs/benchmark-learning"))
    options = parser.parse_args()
    options.dir.mkdir(parents=True, exist_ok=True)
    differences: dict[str, list[Measure]] = {name: [] for name in SHOWN}
    for seed in range(options.seeds):
        run = run_seed(seed, options.dir)
        answers = predictions.read(RunLayout(run).evaluation.predictions)
        compared = metrics.compare(answers["sft"], answers["grpo"], seed=seed)["differences"]
        levels = json.loads(RunLayout(run).evaluation.metrics.read_text())
        for name, title in SHOWN.items():
            before, after = (value_of(levels[model], name) for model in ("sft", "grpo"))
            found = compared[name]
            differences[name].append(found)
            interval = found["interval"]
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
        mean = seeds.mean(differences[name])
        patients, over = mean.over_patients, mean.over_seeds
        print(
            f"mean    {title:18} {mean.value:+.3f}  over patients [{patients[0]:+.3f}, {patients[1]:+.3f}]"
            + (f"  over {options.seeds} seeds [{over[0]:+.3f}, {over[1]:+.3f}]" if over else "")
        )


def value_of(found: dict[str, Any], name: str) -> float:
    """A headline of metrics.json by the name that `metrics.compare` uses."""
    if name == "reward":
        return float(found["reward"]["mean"]["value"])
    level, measure = name.split(".")
    return float(found["levels"][level][measure]["value"])


if __name__ == "__main__":
    main()
