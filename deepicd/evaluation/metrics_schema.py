"""The schema of metrics.json and the definitions of its numbers.

A number is a `Measure`: a value, null if it is undefined or was not observed (unscored is not 0), and an interval, null if
none was requested. The file has `DEFINITIONS` next to the numbers.
"""

from __future__ import annotations

from typing import TypedDict

SCHEMA = "deepicd.io/metrics/v1"

DEFINITIONS = {
    "level": "chapter: of the ICD-10-CM table; category: first 3 characters; code: the full code",
    "valid": "a prediction is valid if it was a billable code in any release of ICD-10-CM FY2016 to FY2026, or is a gold "
    "code marked as local; dots, case and surrounding space do not count",
    "F1": "2TP / (2TP + FP + FN) of one class; a missing, unparseable or invalid prediction is a false negative of "
    "its gold class and a false positive of none",
    "macroF1": "headline: mean F1 over the classes that occur as gold in the test set",
    "macroF1Union": "mean F1 over the classes that occur as gold or as a valid prediction",
    "microF1": "F1 of TP, FP and FN summed over classes",
    "accuracy": "share of admissions whose gold class was predicted",
    "byFrequency": "macroF1 and accuracy over the gold classes of one third of the training set's classes, ranked by "
    "count; classes of the same count share the rarer third; unseen: not in the training set",
    "byChapter": "of the gold codes of a chapter: f1 of the chapter as a class; macro F1 over its categories and codes",
    "format": "share of completions without a fault of form",
    "validCode": "share of admissions with a valid prediction; missing (nothing could be read) and invalid (a code "
    "that never was billable) are the rest",
    "outsideYears": "share of admissions with a prediction that was billable, but in none of the fiscal years that the "
    "admission can be in; among those whose years are known",
    "faults": "share of completions with each fault; one completion may have several",
    "reward": "mean over the scored admissions; reward_without_judge: without the run's judge, which was not available",
    "interval": "95 % percentile interval of a bootstrap that draws patients; of a macro F1 over many rare classes it is "
    "somewhat too narrow",
}


class Measure(TypedDict):
    """A number and its 95 % interval."""

    value: float | None
    interval: list[float] | None


class FrequencyMetrics(TypedDict):
    """The gold classes of one frequency group."""

    classes: int
    admissions: int
    trainingCounts: list[int] | None
    """Smallest and largest number of training admissions over the group's classes in the test set; null without a class."""
    macroF1: Measure
    accuracy: Measure


class LevelMetrics(TypedDict):
    """One level; `byFrequency` is null without the training set's counts."""

    goldClasses: int
    predictedClasses: int
    macroF1: Measure
    macroF1Union: Measure
    microF1: Measure
    accuracy: Measure
    byFrequency: dict[str, FrequencyMetrics] | None


class ChapterMetrics(TypedDict):
    """One chapter that occurs as gold."""

    chapter: int
    title: str
    admissions: int
    f1: Measure
    categoryMacroF1: Measure
    codeMacroF1: Measure


class Rates(TypedDict):
    """Shares of admissions; `format` and `faults` are null if only codes were given."""

    format: Measure
    validCode: Measure
    missing: Measure
    invalid: Measure
    outsideYears: Measure
    faults: dict[str, Measure]


class Reward(TypedDict):
    """Means over the scored admissions."""

    name: str
    """`reward`, or `reward_without_judge`: the run's reward without its judge, which was not available."""
    scored: int
    mean: Measure
    terms: dict[str, Measure]


class Bootstrap(TypedDict):
    """How the intervals were computed."""

    unit: str
    samples: int
    seed: int
    coverage: float
    method: str


class Metrics(TypedDict):
    """The content of metrics.json for one model."""

    schema: str
    definitions: dict[str, str]
    admissions: int
    patients: int
    goldNotBillable: int
    """Admissions whose gold code was never billable: local codes, and headers, for which no prediction can be right."""
    goldOutsideYears: int | None
    """Admissions whose gold code was billable, but in none of their years; null if no years are known."""
    bootstrap: Bootstrap
    levels: dict[str, LevelMetrics]
    byChapter: list[ChapterMetrics]
    rates: Rates
    reward: Reward


class Comparison(TypedDict):
    """Difference of two models on the same admissions, both computed on the same patient samples."""

    admissions: int
    differences: dict[str, Measure]
    """The second model minus the first, by the names of `HEADLINES`."""
