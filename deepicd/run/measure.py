"""The numbers of an evaluation, from the predictions of all its models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deepicd.data.rows import is_local
from deepicd.evaluation import fairness, metrics, people
from deepicd.evaluation.calibration import calibrate
from deepicd.evaluation.metrics_schema import Metrics
from deepicd.evaluation.predictions import Prediction
from deepicd.spec.evaluate import EvaluateSpec


@dataclass(frozen=True)
class TrainingCodes:
    """The codes of the training split."""

    counts: Mapping[str, int]
    local: frozenset[str]

    @classmethod
    def read(cls, split: Path) -> TrainingCodes:
        """From the split's file."""
        rows = pq.read_table(split, columns=["code", "extra_info"]).to_pylist()
        return cls(Counter(row["code"] for row in rows), frozenset(row["code"] for row in rows if is_local(row["extra_info"])))


def measure(
    by_model: Mapping[str, Sequence[Prediction]],
    settings: EvaluateSpec,
    *,
    training: TrainingCodes,
    test: Path,
    seed: int,
    reward_name: str,
    seconds: Mapping[str, Mapping[str, float]],
) -> dict[str, Metrics]:
    """The content of metrics.json.

    Args:
        by_model: one prediction per admission, by name of the model.
        settings: what to measure.
        training: for the groups by frequency.
        test: the test split, which has the groups of patients.
        seed: of the bootstrap.
        reward_name: see `metrics.compute`.
        seconds: of generation per admission, free and constrained, by name of the model.
    """
    groups = people.read(test) if settings.fairness else {}
    found = {}
    for name, records in by_model.items():
        found[name] = metrics.compute(
            records,
            train_counts=training.counts,
            local_codes=training.local,
            bootstrap_samples=settings.bootstrap_samples,
            seed=seed,
            reward_name=reward_name,
            seconds=seconds.get(name),
        )
        found[name]["absent"] |= _not_asked(settings)
        options: dict[str, Any] = {"bootstrap_samples": settings.bootstrap_samples, "seed": seed}
        _add_calibration(found[name], records, settings, options)
        _add_fairness(found[name], records, groups, settings, options)
    return found


def _not_asked(settings: EvaluateSpec) -> dict[str, str]:
    """Reasons for what the models were not asked."""
    wanted = {"constrained": settings.constrained, "prematureClosure": settings.premature_closure}
    return {name: f"stages.evaluate.{name} is false" for name, asked in wanted.items() if not asked}


def _add_calibration(own: Metrics, records: Sequence[Prediction], settings: EvaluateSpec, options: Mapping[str, Any]) -> None:
    if not settings.calibration:
        own["absent"]["calibration"] = "stages.evaluate.calibration is false"
        return
    calibration, reason = calibrate(records, **options)
    if calibration is not None:
        own["calibration"] = calibration
    if reason is not None:
        own["absent"]["calibration"] = reason


def _add_fairness(
    own: Metrics,
    records: Sequence[Prediction],
    groups: Mapping[str, Mapping[str, str]],
    settings: EvaluateSpec,
    options: Mapping[str, Any],
) -> None:
    if not settings.fairness:
        own["absent"]["fairness"] = "stages.evaluate.fairness is false"
        return
    found, absent = fairness.measure(records, groups, **options)
    own["absent"] |= {f"fairness.{attribute}": reason for attribute, reason in absent.items()}
    if found:
        own["fairness"] = found
