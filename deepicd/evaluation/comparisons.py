"""Paired differences between all models of a table, on the same admissions and the same samples of patients.

Written to comparisons.json. Each measure is corrected over all pairs of models (Holm).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NotRequired, TypedDict

import numpy as np

from deepicd.errors import UserError
from deepicd.evaluation import bootstrap, classification, significance
from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.levels import Level
from deepicd.evaluation.metrics import HEADLINES
from deepicd.evaluation.metrics_schema import Bootstrap
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.statistics import TestSet, encode

SCHEMA = "deepicd.io/comparisons/v1"
DEFINITIONS = {
    "difference": "second minus first, on the same samples of patients",
    "p": "two-sided bootstrap p-value: twice the share of samples on the rarer side of 0, with one sample added; at least "
    "2 / 2^patients; null, like the interval, with fewer than 6 patients",
    "pHolm": "p after Holm's correction over all pairs of models, for each measure",
    "significant": f"pHolm is below {significance.LEVEL}",
}


class Difference(TypedDict):
    """Of one measure; `p`, `pHolm` and `significant` are null without bootstrap samples."""

    value: float
    interval: list[float] | None
    p: float | None
    pHolm: float | None
    significant: bool | None


class Pair(TypedDict):
    """The differences of two models by measure. Measures that one of them lacks are in `absent`."""

    first: str
    second: str
    differences: dict[str, Difference]
    absent: NotRequired[dict[str, str]]


class Comparisons(TypedDict):
    """The content of comparisons.json."""

    schema: str
    definitions: dict[str, str]
    admissions: int
    patients: int
    bootstrap: Bootstrap
    pairs: list[Pair]


def on_common_admissions(by_model: Mapping[str, Sequence[Prediction]]) -> dict[str, list[Prediction]]:
    """The predictions for the admissions that all models answered, in the order of the first model.

    Raises:
        UserError: a model answers an admission twice, two disagree on the patient or gold code of an id, or the
            models have no admission in common.
    """
    indexed = {name: {record.id: record for record in records} for name, records in by_model.items()}
    for name, records in by_model.items():
        if len(indexed[name]) != len(records):
            raise UserError(f"{name}: answers an admission twice: give one answer each")
    first, *others = by_model
    common = [record.id for record in by_model[first] if all(record.id in indexed[name] for name in others)]
    if not common:
        raise UserError(f"{', '.join(by_model)}: have no admission in common: compare models of one test split")
    for identity in common:
        facts = {(record.subject_id, record.gold) for record in (indexed[name][identity] for name in by_model)}
        if len(facts) > 1:
            raise UserError(f"admission {identity}: has several patients or gold codes: compare runs of one cohort")
    return {name: [indexed[name][identity] for identity in common] for name in by_model}


def compare_all(by_model: Mapping[str, Sequence[Prediction]], *, bootstrap_samples: int = 1000, seed: int = 0) -> Comparisons:
    """Compare each pair of models, in the given order.

    The number of samples is raised for many pairs, so that a difference can be significant after the correction.

    Args:
        by_model: one answer for each admission, the same admissions for each model.
        bootstrap_samples: minimum number of patient samples; 0: no intervals and no p-values.
        seed: of the samples.

    Raises:
        UserError: the models did not answer the same admissions, see `on_common_admissions`.
    """
    aligned = on_common_admissions(by_model)
    records = next(iter(aligned.values()))
    if any(len(own) != len(records) for own in by_model.values()):
        raise UserError("predictions: models to compare need one answer each for the same admissions")
    pairs = list(combinations(aligned, 2))
    subjects = [record.subject_id for record in records]
    needed = significance.samples_needed(len(pairs), bootstrap_samples) if pairs else 0
    samples = bootstrap.number_of_samples(subjects, needed)
    tests = {name: encode(own) for name, own in aligned.items()}
    both = {f"{measure} {name}": (measure, name) for name in tests for measure in HEADLINES}

    def statistics(weights: FloatArray) -> dict[str, FloatArray]:
        own = {name: headlines(test, weights) for name, test in tests.items()}
        return {key: own[name][measure] for key, (measure, name) in both.items()}

    point, drawn = bootstrap.resample(subjects, samples, seed, statistics)
    patients = len(set(subjects))
    found = [_pair(first, second, point, drawn, patients) for first, second in pairs]
    for measure in HEADLINES:
        _correct(found, measure)
    return {
        "schema": SCHEMA,
        "definitions": DEFINITIONS,
        "admissions": len(records),
        "patients": patients,
        "bootstrap": {
            "unit": "subject_id",
            "samples": samples,
            "seed": seed,
            "coverage": bootstrap.LEVEL,
            "method": "percentile",
        },
        "pairs": found,
    }


def headlines(test: TestSet, weights: FloatArray) -> dict[str, FloatArray]:
    """[R] each statistic of `HEADLINES`; `weights` is [N, R]. A part of `statistics`, for many samples."""
    values = {}
    for level in Level:
        counts = classification.count(test.labels[level], weights)
        values[f"{level}.macroF1"] = classification.macro_f1(counts)
        values[f"{level}.accuracy"] = classification.accuracy(counts)
    for name in HEADLINES:
        if name not in values:
            observed = test.observations[name]
            known = ~np.isnan(observed)
            values[name] = classification.ratio(np.where(known, observed, 0.0) @ weights, known.astype(np.float64) @ weights)
    return values


def _pair(first: str, second: str, point: Mapping[str, float], drawn: Mapping[str, FloatArray], patients: int) -> Pair:
    differences: dict[str, Difference] = {}
    absent: dict[str, str] = {}
    for measure in HEADLINES:
        before, after = f"{measure} {first}", f"{measure} {second}"
        value = point[after] - point[before]
        if np.isnan(value):
            without = [name for name in (first, second) if np.isnan(point[f"{measure} {name}"])]
            absent[measure] = f"{' and '.join(without)}: no value of {measure}"
            continue
        samples = drawn[after] - drawn[before] if drawn else None
        ends = None if samples is None else bootstrap.interval(samples)
        differences[measure] = {
            "value": value,
            "interval": None if ends is None else list(ends),
            "p": None if samples is None else significance.p_value(samples, patients),
            "pHolm": None,
            "significant": None,
        }
    pair: Pair = {"first": first, "second": second, "differences": differences}
    return pair | {"absent": absent} if absent else pair


def _correct(pairs: Sequence[Pair], measure: str) -> None:
    found = {place: pair["differences"][measure]["p"] for place, pair in enumerate(pairs) if measure in pair["differences"]}
    corrected = significance.holm({place: p for place, p in found.items() if p is not None})
    for place, p in corrected.items():
        pairs[place]["differences"][measure]["pHolm"] = p
        pairs[place]["differences"][measure]["significant"] = p < significance.LEVEL
