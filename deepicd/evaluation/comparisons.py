"""Paired differences between all models of a table, on the same admissions and the same samples of patients.

Written to comparisons.json. Each measure is corrected over all pairs of models (Holm).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NotRequired, TypedDict

import numpy as np

from deepicd.errors import UserError
from deepicd.evaluation import bootstrap, classification, significance
from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.metrics import HEADLINES
from deepicd.evaluation.metrics_schema import Bootstrap
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.statistics import TestSet, counted, encode

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


def compare_all(
    by_model: Mapping[str, Sequence[Prediction]],
    *,
    bootstrap_samples: int = 1000,
    seed: int = 0,
    incomparable: Callable[[str, str], Mapping[str, str]] = lambda first, second: {},
) -> Comparisons:
    """Compare each pair of models, in the given order.

    The number of samples is raised for many pairs, so that a difference can be significant after the correction.

    Args:
        by_model: one answer for each admission, the same admissions for each model.
        bootstrap_samples: minimum number of patient samples; 0: no intervals and no p-values.
        seed: of the samples.
        incomparable: measures of two models that are not of one kind, with the reason: they have no difference.

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
    points = {name: headlines(test, np.ones((1, len(records)))) for name, test in tests.items()}
    chunks = [
        {name: headlines(test, weights) for name, test in tests.items()}
        for weights in bootstrap.patient_samples(subjects, samples, seed)
    ]
    measured = {name: _Measured(points[name], [chunk[name] for chunk in chunks]) for name in tests}
    patients = len(set(subjects))
    found = [_pair(first, second, measured, patients, incomparable(first, second)) for first, second in pairs]
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


def headlines(test: TestSet, samples: FloatArray) -> dict[str, FloatArray]:
    """[R] each statistic of `HEADLINES`: a part of `statistics`, for many samples.

    Args:
        test: N admissions.
        samples: [R, N] how often each admission counts in each of R samples.
    """
    values = {}
    for level, counts in counted(test.labels, samples).items():
        values[f"{level}.macroF1"] = classification.macro_f1(counts)
        values[f"{level}.accuracy"] = classification.accuracy(counts)
    every = samples.sum(axis=1)
    for name in HEADLINES:
        if name not in values:
            observed = test.observations[name]
            known = ~np.isnan(observed)
            whole = every if known.all() else _weighted(known.astype(np.float64), samples)
            values[name] = classification.ratio(_weighted(np.where(known, observed, 0.0), samples), whole)
    return values


def _weighted(values: FloatArray, samples: FloatArray) -> FloatArray:
    """[R] weighted sums. Not by `@`: for so little work the threads of BLAS cost many times more than they save."""
    found: FloatArray = np.einsum("rn,n->r", samples, values)
    return found


class _Measured:
    """One model's headlines: each value, and its values on R samples."""

    def __init__(self, point: Mapping[str, FloatArray], chunks: Sequence[Mapping[str, FloatArray]]) -> None:
        self.point = {measure: float(value[0]) for measure, value in point.items()}
        self.drawn = {measure: np.concatenate([chunk[measure] for chunk in chunks]) for measure in (point if chunks else ())}


def _pair(first: str, second: str, measured: Mapping[str, _Measured], patients: int, incomparable: Mapping[str, str]) -> Pair:
    before, after = measured[first], measured[second]
    differences: dict[str, Difference] = {}
    absent: dict[str, str] = {}
    for measure in HEADLINES:
        value = after.point[measure] - before.point[measure]
        if np.isnan(value):
            without = [name for name in (first, second) if np.isnan(measured[name].point[measure])]
            absent[measure] = f"{' and '.join(without)}: no value of {measure}"
            continue
        if measure in incomparable:
            absent[measure] = incomparable[measure]
            continue
        samples = after.drawn[measure] - before.drawn[measure] if after.drawn else None
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
