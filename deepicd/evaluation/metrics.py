"""Every metric of one model on one test set, with 95 % intervals, and the paired difference of two models.

`metrics_schema` defines the metrics; `statistics` and `classification` count them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

import numpy as np

from deepicd import icd10
from deepicd.errors import UserError
from deepicd.evaluation import bootstrap, sampling, variants
from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.frequency import Frequency
from deepicd.evaluation.levels import Level, chapter_title
from deepicd.evaluation.metrics_schema import (
    DEFINITIONS,
    SCHEMA,
    AlternativeMetrics,
    ChapterMetrics,
    Closure,
    Comparison,
    FrequencyMetrics,
    LevelMetrics,
    Measure,
    Metrics,
)
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.statistics import MAJORITY, TestSet, encode, outside_years, statistics

HEADLINES = (
    *(f"{level}.macroF1" for level in Level),
    *(f"{level}.accuracy" for level in Level),
    "format",
    "validCode",
    "reward",
)
"""Names of the statistics that `compare` reports."""


class _Measures:
    """Point estimates and bootstrap values of one test set, by name of the statistic."""

    def __init__(self, test: TestSet, samples: int, seed: int) -> None:
        self._points, self._samples = bootstrap.resample(
            test.subjects, samples, seed, lambda weights: statistics(test, weights)
        )

    def __getitem__(self, name: str) -> Measure:
        return bootstrap.measure(self._points[name], self._samples.get(name))


def compute(
    predictions: Sequence[Prediction],
    *,
    train_counts: Mapping[str, int] | None = None,
    local_codes: Collection[str] = (),
    bootstrap_samples: int = 1000,
    seed: int = 0,
    reward_name: str = "reward",
    seconds: Mapping[str, float] | None = None,
) -> Metrics:
    """Compute every metric of one model.

    Args:
        predictions: one per admission.
        train_counts: admissions of the training set per code; None: no frequency groups.
        local_codes: codes of the training set that no release of ICD-10-CM has.
        bootstrap_samples: number of patient samples for the intervals; 0: no intervals.
        seed: seed of the patient samples.
        reward_name: `reward`, or `reward_without_judge` if the run's judge was not available.
        seconds: of generation per admission, `free` and `constrained`; None if they were not measured.

    Raises:
        UserError: `predictions` is empty, or a gold or training code is neither in ICD-10-CM nor local.
    """
    test = encode(predictions, train_counts, local_codes)
    measures = _Measures(test, bootstrap_samples, seed)
    terms = sorted(name for name in test.observations if name.startswith("term."))
    faults = [name for name in test.observations if name.startswith("fault.")]
    found: Metrics = {
        "schema": SCHEMA,
        "definitions": DEFINITIONS,
        "admissions": len(predictions),
        "patients": len(set(test.subjects)),
        "goldNotBillable": sum(not icd10.is_billable(record.gold) for record in predictions),
        "goldOutsideYears": _gold_outside_years(predictions),
        "bootstrap": {
            "unit": "subject_id",
            "samples": bootstrap.number_of_samples(test.subjects, bootstrap_samples),
            "seed": seed,
            "coverage": bootstrap.LEVEL,
            "method": "percentile",
        },
        "levels": {level.value: _level(test, level, measures) for level in Level},
        "byChapter": _chapters(test, measures),
        "rates": {
            "format": measures["format"],
            "validCode": measures["validCode"],
            "missing": measures["missing"],
            "invalid": measures["invalid"],
            "outsideYears": measures["outsideYears"],
            "faults": {name.removeprefix("fault."): measures[name] for name in faults},
        },
        "reward": {
            "name": reward_name,
            "scored": int(np.count_nonzero(~np.isnan(test.observations["reward"]))),
            "mean": measures["reward"],
            "terms": {name.removeprefix("term."): measures[name] for name in terms},
        },
        "absent": {},
    }
    if bootstrap_samples > found["bootstrap"]["samples"]:
        found["absent"]["interval"] = f"fewer than {bootstrap.FEWEST_PATIENTS} patients"
    _add_sampling(found, predictions, test, measures)
    _add_variants(found, test, measures, seconds or {})
    return found


def _add_sampling(found: Metrics, predictions: Sequence[Prediction], test: TestSet, measures: _Measures) -> None:
    if MAJORITY not in test.alternatives:
        found["absent"]["sampling"] = "only one answer per admission is known: no completions were sampled"
        return
    drawn = sampling.smallest_number(predictions)
    found["sampling"] = {
        "samples": drawn,
        "levels": {
            level.value: {
                "passAt": {str(k): measures[f"{level}.pass.{k}"] for k in sampling.sizes(drawn)},
                "agreement": measures[f"{level}.agreement"],
                "majority": _alternative(MAJORITY, level, measures),
            }
            for level in Level
        },
    }


def _add_variants(found: Metrics, test: TestSet, measures: _Measures, seconds: Mapping[str, float]) -> None:
    if variants.CONSTRAINED in test.alternatives:
        levels = {level.value: _alternative(variants.CONSTRAINED, level, measures) for level in Level}
        found["constrained"] = {"levels": levels, "secondsPerAdmission": dict(seconds)}
    else:
        found["absent"]["constrained"] = "no answers constrained to codes of the table are known"
    asked = {name: f"{Level.CODE}.{name}.held" in test.observations for name in (variants.HALF, variants.MISLED)}
    if any(asked.values()):
        found["prematureClosure"] = {
            name: {level.value: _closure(name, level, measures) for level in Level} for name, known in asked.items() if known
        }
        found["absent"] |= {
            f"prematureClosure.{name}": "no such answers are known" for name, known in asked.items() if not known
        }
    else:
        found["absent"]["prematureClosure"] = "no answers to changed notes are known"


def _alternative(name: str, level: Level, measures: _Measures) -> AlternativeMetrics:
    return {
        "macroF1": measures[f"{level}.{name}.macroF1"],
        "microF1": measures[f"{level}.{name}.microF1"],
        "accuracy": measures[f"{level}.{name}.accuracy"],
        "gain": measures[f"{level}.{name}.gain"],
    }


def _closure(condition: str, level: Level, measures: _Measures) -> Closure:
    found: Closure = {
        "held": measures[f"{level}.{condition}.held"],
        "right": measures[f"{level}.{condition}.right"],
    }
    if condition == variants.MISLED:
        found["followed"] = measures[f"{level}.{condition}.followed"]
    return found


def compare(
    first: Sequence[Prediction], second: Sequence[Prediction], *, bootstrap_samples: int = 1000, seed: int = 0
) -> Comparison:
    """Paired difference `second - first` of the headline metrics: both models on the same samples of patients.

    Raises:
        UserError: the models did not answer the same admissions.
    """
    ordered = [sorted(records, key=lambda record: record.id) for records in (first, second)]
    asked = [[(record.id, record.subject_id, record.gold) for record in records] for records in ordered]
    if asked[0] != asked[1] or any(one[0] == other[0] for one, other in pairwise(asked[0])):
        raise UserError("predictions: two models to compare need one answer each for the same admissions")
    one, other = (encode(records) for records in ordered)

    def differences(weights: FloatArray) -> dict[str, FloatArray]:
        before, after = statistics(one, weights), statistics(other, weights)
        return {name: after[name] - before[name] for name in HEADLINES}

    points, samples = bootstrap.resample(one.subjects, bootstrap_samples, seed, differences)
    return {
        "admissions": len(first),
        "differences": {name: bootstrap.measure(points[name], samples.get(name)) for name in HEADLINES},
    }


def _gold_outside_years(predictions: Sequence[Prediction]) -> int | None:
    known = [outside for record in predictions if (outside := outside_years(record, record.gold)) is not None]
    return sum(known) if known else None


def _level(test: TestSet, level: Level, measures: _Measures) -> LevelMetrics:
    labels = test.labels[level]
    return {
        "goldClasses": len(np.unique(labels.gold)),
        "predictedClasses": len(np.unique(labels.predicted[labels.predicted >= 0])),
        "macroF1": measures[f"{level}.macroF1"],
        "macroF1Union": measures[f"{level}.macroF1Union"],
        "microF1": measures[f"{level}.microF1"],
        "accuracy": measures[f"{level}.accuracy"],
        "byFrequency": {group.value: _frequency(test, test.training[level], level, group, measures) for group in Frequency}
        if test.training is not None
        else None,
    }


def _frequency(
    test: TestSet, training: Mapping[str, int], level: Level, group: Frequency, measures: _Measures
) -> FrequencyMetrics:
    labels = test.labels[level]
    among = test.groups[level][f"frequency.{group}"]
    rows = [row for row in np.unique(labels.gold) if among[row]]
    counts = [training.get(labels.classes[row], 0) for row in rows]
    return {
        "classes": len(rows),
        "admissions": int(np.count_nonzero(among[labels.gold])),
        "trainingCounts": [min(counts), max(counts)] if counts else None,
        "macroF1": measures[f"{level}.frequency.{group}.macroF1"],
        "accuracy": measures[f"{level}.frequency.{group}.accuracy"],
    }


def _chapters(test: TestSet, measures: _Measures) -> list[ChapterMetrics]:
    labels = test.labels[Level.CHAPTER]
    rows, admissions = np.unique(labels.gold, return_counts=True)
    return [
        {
            "chapter": int(labels.classes[row]),
            "title": chapter_title(int(labels.classes[row])),
            "admissions": int(number),
            "f1": measures[f"chapter.chapter.{labels.classes[row]}.macroF1"],
            "categoryMacroF1": measures[f"category.chapter.{labels.classes[row]}.macroF1"],
            "codeMacroF1": measures[f"code.chapter.{labels.classes[row]}.macroF1"],
        }
        for row, number in zip(rows, admissions, strict=True)
    ]
