"""Whether a model's confidence matches how often it is right, and what abstaining by confidence would gain.

The confidence of a language model is the share of its samples that agree with its greedy answer; that of a baseline is its own
probability. Only admissions with a valid answer count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

from deepicd.evaluation import bootstrap, sampling
from deepicd.evaluation.classification import BoolArray, FloatArray, IntArray, ratio
from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.metrics_schema import Calibration, LevelCalibration, Measure, RiskPoint
from deepicd.evaluation.predictions import Prediction, local_codes, valid_answers, valid_codes

BINS = 10
"""Bins of equal width."""
_MOST_POINTS = 100
"""Points of a risk-coverage curve."""


def calibrate(
    predictions: Sequence[Prediction], *, bootstrap_samples: int = 1000, seed: int = 0
) -> tuple[Calibration | None, str | None]:
    """The calibration at each level, or the reason why there is none.

    Args:
        predictions: one per admission.
        bootstrap_samples: number of patient samples for the intervals; 0: no intervals.
        seed: of the samples.
    """
    local = local_codes(predictions)
    answers = valid_answers(predictions)
    sampled = bool(sampling.smallest_number(predictions))
    answered = np.array([code is not None for code in answers])
    if not sampled and not all(record.confidence for record, known in zip(predictions, answered, strict=True) if known):
        return None, "the model states no confidence: no completions were sampled, and it gives no probabilities"
    if not answered.any():
        return None, "no admission has a valid answer"
    chosen = [(record, code) for record, code in zip(predictions, answers, strict=True) if code is not None]
    right = {
        level: np.array([class_of(code, level) == class_of(record.gold, level) for record, code in chosen]) for level in Level
    }
    confidence = {
        level: np.array([_confidence(record, code, level, local, sampled=sampled) for record, code in chosen])
        for level in Level
    }

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        found: dict[str, FloatArray] = {}
        for level in Level:
            of_level = _statistics(confidence[level], right[level], weights[answered])
            found |= {f"{level}.{name}": value for name, value in of_level.items()}
        return found

    subjects = [record.subject_id for record in predictions]
    point, samples = bootstrap.resample(subjects, bootstrap_samples, seed, statistics)
    measures = {name: bootstrap.measure(value, samples.get(name)) for name, value in point.items()}
    levels = {
        level.value: _level(
            confidence[level],
            right[level],
            {name.removeprefix(f"{level}."): own for name, own in measures.items() if name.startswith(f"{level}.")},
        )
        for level in Level
    }
    drawn = sampling.smallest_number(predictions)
    return {
        "confidence": f"agreement of {drawn} {'sample' if drawn == 1 else 'samples'} with the greedy answer"
        if sampled
        else "the model's own probability",
        "answered": len(chosen),
        "levels": levels,
    }, None


def _confidence(record: Prediction, code: str, level: Level, local: set[str], *, sampled: bool) -> float:
    if not sampled:
        return record.confidence[level]
    return sampling.agreement(code, valid_codes(record.samples or (), local), level) or 0.0


def _statistics(confidence: FloatArray, right: BoolArray, weights: FloatArray) -> dict[str, FloatArray]:
    """[R] the statistics that have intervals; `weights` is [N, R] for the N admissions with an answer."""
    over = confidence - right
    found = {
        "overconfidence": _mean(over, weights),
        "brier": _mean(over**2, weights),
        "aurc": area_under_risk_coverage(confidence, right, weights),
    }
    place = bins(confidence)
    for number in np.unique(place):
        found[f"bin.{number}"] = _mean(right[place == number].astype(np.float64), weights[place == number])
    return found


def _mean(values: FloatArray, weights: FloatArray) -> FloatArray:
    return ratio(values @ weights, weights.sum(axis=0))


def _level(confidence: FloatArray, right: BoolArray, measures: Mapping[str, Measure]) -> LevelCalibration:
    place = bins(confidence)
    return {
        "ece": expected_error(confidence, right),
        "overconfidence": measures["overconfidence"],
        "brier": measures["brier"],
        "aurc": measures["aurc"],
        "bins": [
            {
                "low": int(number) / BINS,
                "high": (int(number) + 1) / BINS,
                "admissions": int(np.count_nonzero(place == number)),
                "confidence": float(confidence[place == number].mean()),
                "accuracy": measures[f"bin.{number}"],
            }
            for number in np.unique(place)
        ],
        "riskCoverage": _curve(confidence, right),
    }


def bins(confidence: FloatArray) -> IntArray:
    """[N] bin of each confidence in [0, 1]: bin b has those in (b / BINS, (b + 1) / BINS], the first also 0."""
    return np.clip(np.ceil(confidence * BINS - 1e-9).astype(int) - 1, 0, BINS - 1)


def expected_error(confidence: FloatArray, right: BoolArray) -> float:
    """Expected calibration error: mean difference of confidence and accuracy within bins, weighted by their admissions."""
    gaps = np.bincount(bins(confidence), weights=confidence - right, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def area_under_risk_coverage(confidence: FloatArray, right: BoolArray, weights: FloatArray) -> FloatArray:
    """[R] mean share of wrong answers over all coverages, answers of high confidence first; lower is better.

    Answers with equal confidence are mixed evenly, so that their order does not matter: within a group of weight w and error
    rate e, after answers of weight W with errors E, the risk at W + t is (E + e t) / (W + t), which is integrated exactly.

    Args:
        confidence: [N].
        right: [N].
        weights: [N, R].
    """
    order = np.argsort(-confidence, kind="stable")
    _, starts = np.unique(-confidence[order], return_index=True)
    sizes = np.add.reduceat(weights[order], starts, axis=0)
    errors = np.add.reduceat(weights[order] * ~right[order, None], starts, axis=0)
    before, wrong = np.cumsum(sizes, axis=0) - sizes, np.cumsum(errors, axis=0) - errors
    rate = np.divide(errors, sizes, out=np.zeros_like(errors), where=sizes > 0)
    growth = np.log(np.divide(before + sizes, before, out=np.ones_like(sizes), where=before > 0))
    area = rate * sizes + (wrong - rate * before) * growth
    return ratio(area.sum(axis=0), sizes.sum(axis=0))


def _curve(confidence: FloatArray, right: BoolArray) -> list[RiskPoint]:
    """Risk and coverage if only answers with at least each confidence are given, from the highest down."""
    order = np.argsort(-confidence, kind="stable")
    ordered, wrong = confidence[order], np.cumsum(~right[order])
    ends = [place for place, (one, after) in enumerate(pairwise(ordered)) if one != after] + [len(ordered) - 1]
    if len(ends) > _MOST_POINTS:
        ends = [ends[place] for place in np.unique(np.linspace(0, len(ends) - 1, _MOST_POINTS).astype(int))]
    return [
        {
            "confidence": float(ordered[end]),
            "coverage": (end + 1) / len(ordered),
            "risk": float(wrong[end]) / (end + 1),
        }
        for end in ends
    ]
