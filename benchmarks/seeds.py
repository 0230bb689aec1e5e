"""The quickstart with other seeds, and means over seeds: what benchmarks with several seeds share."""

from __future__ import annotations

import copy
import math
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deepicd.evaluation.metrics_schema import Measure

QUICKSTART = Path(__file__).parents[1] / "manifests" / "samples" / "quickstart.yaml"
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571}
"""97.5 % points of Student's t for n - 1 degrees of freedom, by n."""


def quickstart(seed: int) -> dict[str, Any]:
    """The content of the quickstart's run.yaml with other codes, admissions, split, weights and sampling; 0 changes nothing."""
    content: dict[str, Any] = copy.deepcopy(yaml.safe_load(QUICKSTART.read_text()))
    spec = content["spec"]
    spec["seed"] = 42 + seed
    spec["model"]["tiny"]["seed"] = seed
    spec["data"]["synthetic"]["seed"] = seed
    spec["data"]["split"] = {"seed": 42 + seed}
    return content


def run(content: Mapping[str, Any], folder: Path, command: str = "run") -> Path:
    """Run a run.yaml into FOLDER/NAME, with its file and log beside it; returns the run's folder. It resumes.

    Raises:
        CalledProcessError: it failed; the log says why.
    """
    name = str(content["metadata"]["name"])
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(dict(content)))
    with (folder / f"{name}.log").open("wb") as log:
        subprocess.run(
            [str(Path(sys.executable).with_name("deepicd")), command, str(file), "--dir", str(folder / name)],
            check=True, stdout=log, stderr=log,
        )  # fmt: skip
    return folder / name


@dataclass(frozen=True)
class Mean:
    """The mean of a difference over seeds, with two 95 % intervals."""

    value: float
    over_patients: tuple[float, float]
    """For these seeds. Their test patients are different people, so their errors are independent."""
    over_seeds: tuple[float, float] | None
    """Student's t with n - 1 degrees of freedom; None with one seed."""


def mean(found: Sequence[Measure]) -> Mean:
    """The mean over seeds of a difference, given with its interval for each seed.

    Raises:
        ValueError: a difference is undefined.
    """
    values = [one["value"] for one in found if one["value"] is not None]
    if len(values) < len(found):
        raise ValueError("a difference is undefined")
    halves = [(one["interval"][1] - one["interval"][0]) / 2 if one["interval"] else math.nan for one in found]
    middle = statistics.fmean(values)
    patients = math.sqrt(sum(half**2 for half in halves)) / len(values)
    seeds = None
    if len(values) > 1:
        half = T_95[len(values)] * statistics.stdev(values) / math.sqrt(len(values))
        seeds = (middle - half, middle + half)
    return Mean(middle, (middle - patients, middle + patients), seeds)
