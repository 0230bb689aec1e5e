"""The ablation's table: each arm's mean over seeds, and its difference to the reference in pairs."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import seeds
from deepicd.evaluation import bootstrap, metrics
from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.metrics_schema import Measure
from deepicd.evaluation.predictions import Prediction

SHOWN = {
    "category.macroF1": "category macro F1", "code.macroF1": "full-code macro F1", "chapter.macroF1": "chapter macro F1",
    "format": "format rate", "tokens": "tokens",
}  # fmt: skip
"""Columns, by the name of the measure: of `metrics.compare`, and the mean tokens of an answer."""
SAMPLES = 1000


@dataclass(frozen=True)
class Answers:
    """An arm's answers with one seed."""

    predictions: list[Prediction]
    tokens: list[int]

    @classmethod
    def read(cls, path: Path) -> Answers:
        """What `ablation_answers` wrote."""
        content = json.loads(path.read_text())
        return cls([Prediction(**{**row, "faults": tuple(row["faults"])}) for row in content["predictions"]], content["tokens"])

    def levels(self) -> dict[str, float]:
        """Each measure's value."""
        found = metrics.compute(self.predictions, bootstrap_samples=0)
        values: dict[str, Any] = {name: found["levels"][name]["macroF1"]["value"] for name in ("category", "code", "chapter")}
        own = {f"{name}.macroF1": float(value or 0.0) for name, value in values.items()}
        return {**own, "format": float(found["rates"]["format"]["value"] or 0.0), "tokens": statistics.fmean(self.tokens)}

    def minus(self, other: Answers, seed: int) -> dict[str, Measure]:
        """Each measure's difference to another arm's, with its interval: on the same samples of patients."""
        found = dict(metrics.compare(other.predictions, self.predictions, bootstrap_samples=SAMPLES, seed=seed)["differences"])
        longer = np.array(self.tokens, dtype=np.float64) - np.array(other.tokens, dtype=np.float64)

        def mean_length(weights: FloatArray) -> Mapping[str, FloatArray]:
            return {"tokens": (longer @ weights) / weights.sum(axis=0)}

        subjects = [one.subject_id for one in self.predictions]
        point, drawn = bootstrap.resample(subjects, SAMPLES, seed, mean_length)
        return {**found, "tokens": bootstrap.measure(point["tokens"], drawn["tokens"])}


def rows(results: Path, titles: Mapping[str, str], reference: str, number: int) -> Iterator[str]:
    """The table's lines in Markdown.

    Args:
        results: folder `seed-N/ARM.json`.
        titles: of the arms, by name, in order.
        reference: the arm that the others are compared with.
        number: of seeds; of those, each arm's row has the seeds that it and the reference have.
    """
    yield "| arm | " + " | ".join(SHOWN.values()) + " | seeds |"
    yield "|---" * (len(SHOWN) + 2) + "|"
    for name, title in titles.items():
        has = [seed for seed in range(number) if all(_path(results, seed, one).exists() for one in (name, reference))]
        if has:
            pairs = [
                (seed, Answers.read(_path(results, seed, name)), Answers.read(_path(results, seed, reference))) for seed in has
            ]
            cells = _cells(pairs, compared=name != reference)
            yield f"| {title} | " + " | ".join(cells) + f" | {', '.join(map(str, has))} |"


def _path(results: Path, seed: int, name: str) -> Path:
    return results / f"seed-{seed}" / f"{name}.json"


def _cells(pairs: Sequence[tuple[int, Answers, Answers]], *, compared: bool) -> Iterator[str]:
    levels = [own.levels() for _, own, _ in pairs]
    differences = [own.minus(other, seed) for seed, own, other in pairs] if compared else []
    for name in SHOWN:
        digits = 1 if name == "tokens" else 3
        values = [level[name] for level in levels]
        spread = f" (SD {statistics.stdev(values):.{digits}f})" if len(values) > 1 else ""
        cell = f"{statistics.fmean(values):.{digits}f}{spread}"
        if compared:
            found = seeds.mean([one[name] for one in differences])
            low, high = found.over_patients
            cell += f"; {found.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"
            if found.over_seeds is not None:
                cell += f" ([{found.over_seeds[0]:+.{digits}f}, {found.over_seeds[1]:+.{digits}f}])"
        yield cell
