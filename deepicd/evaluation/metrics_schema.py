"""The schema of metrics.json and the definitions of its numbers.

A number is a `Measure`: a value (null if it is undefined or was not observed; unscored is not 0) and an interval (null if
none was requested. The file has `DEFINITIONS` next to the numbers.
"""

from __future__ import annotations

from typing import NotRequired, TypedDict

SCHEMA = "deepicd.io/metrics/v1"

DEFINITIONS = {
    "level": "chapter: of the ICD-10-CM table; category: first 3 characters; code: the full code",
    "valid": "a prediction is valid if it was a billable code in any release of ICD-10-CM FY2016 to FY2026, or is a gold "
    "code marked as local; dots, case and surrounding space do not count",
    "F1": "2TP / (2TP + FP + FN) of one class; a missing, unparseable or invalid prediction is a false negative of "
    "its gold class and a false positive for none",
    "macroF1": "headline: mean F1 over the classes that occur as gold in the test set",
    "macroF1Union": "mean F1 over the classes that occur as gold or as a valid prediction",
    "microF1": "F1 of TP, FP and FN summed over classes",
    "accuracy": "share of admissions whose gold class was predicted",
    "byFrequency": "macroF1 and accuracy over the gold classes of one third of the training set's classes, ranked by "
    "count; classes of the same count share the rarer third; unseen: not in the training set",
    "byChapter": "of the gold codes of a chapter: f1 of the chapter as a class; macro F1 over its categories and codes",
    "format": "share of completions without a format fault",
    "validCode": "share of admissions with a valid prediction; missing (nothing could be read) and invalid (a code "
    "that never was billable) are the rest",
    "outsideYears": "share of admissions with a prediction that was billable, but in none of the fiscal years that the "
    "admission can be in; among those whose years are known",
    "faults": "share of completions with each fault; one completion may have several",
    "reward": "mean over the scored admissions; reward_without_judge: without the run's judge, which was not available",
    "passAt": "unbiased estimate of the probability that at least one of k sampled completions is right: the share of the "
    "subsets of k samples that contain a right one",
    "agreement": "share of the samples whose class is that of the greedy answer, over the admissions with a valid one",
    "majority": "the most frequent valid code of the samples; of equally frequent ones the greedy answer, then the first drawn",
    "gain": "macroF1 of this answer minus that of the free greedy answer, paired by patient",
    "prematureClosure": "half_note: only the first half of the note; wrong_first: the diagnosis of another admission "
    "is stated before the note. held: share of valid answers that stay the same; right: share that is right; followed: share "
    "that becomes the stated wrong diagnosis, where that was not the answer before",
    "calibration": "over the admissions with a valid answer. ece: mean difference of confidence and accuracy in ten bins of "
    "equal width, weighted by admissions; overconfidence: mean confidence minus accuracy; brier: mean squared difference of "
    "confidence and being right; aurc: mean share of wrong answers over all coverages, answers of high confidence first",
    "fairness": "gap: accuracy of a group minus that of the largest group with a known value; pHolm: corrected "
    "over all gaps of a level; groups of fewer than 20 patients are suppressed",
    "interval": "95 % percentile interval of a bootstrap that draws patients; of a macro F1 over many rare classes it is "
    "somewhat too narrow; null with fewer than 6 patients",
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


class AlternativeMetrics(TypedDict):
    """Another answer of the model to each admission, at one level."""

    macroF1: Measure
    microF1: Measure
    accuracy: Measure
    gain: Measure


class SampledLevel(TypedDict):
    """The samples at one level."""

    passAt: dict[str, Measure]
    """By k, as text: powers of two up to the number of samples, and that number."""
    agreement: Measure
    majority: AlternativeMetrics


class Sampling(TypedDict):
    """The completions sampled in addition to the greedy one."""

    samples: int
    levels: dict[str, SampledLevel]


class Constrained(TypedDict):
    """Greedy answers with a diagnosis tag that can contain only codes of the table."""

    levels: dict[str, AlternativeMetrics]
    secondsPerAdmission: dict[str, float]
    """Seconds of generation per admission, `free` and `constrained`; empty if they were not measured."""


class Closure(TypedDict):
    """The answers under one condition, at one level; `followed` only where a wrong diagnosis is stated."""

    held: Measure
    right: Measure
    followed: NotRequired[Measure]


class Bin(TypedDict):
    """The admissions whose confidence is above `low`, and at most `high`; the first bin also has 0."""

    low: float
    high: float
    admissions: int
    confidence: float
    """Their mean."""
    accuracy: Measure


class RiskPoint(TypedDict):
    """If only answers with at least this confidence are given: their share of all answers, and how many of them are wrong."""

    confidence: float
    coverage: float
    risk: float


class LevelCalibration(TypedDict):
    """One level."""

    ece: float
    """Without an interval: resampling biases it upwards."""
    overconfidence: Measure
    brier: Measure
    aurc: Measure
    bins: list[Bin]
    """Those that are not empty."""
    riskCoverage: list[RiskPoint]
    """At most 100 points."""


class Calibration(TypedDict):
    """Confidence and accuracy of the admissions with a valid answer."""

    confidence: str
    """Definition of the confidence."""
    answered: int
    levels: dict[str, LevelCalibration]


class Gap(Measure):
    """Accuracy of a group minus that of the largest group; `p`, `pHolm` and `significant` are null without samples."""

    p: float | None
    pHolm: float | None
    significant: bool | None


class FairnessGroup(TypedDict):
    """One group of patients; the largest one has no gap."""

    group: str
    admissions: int
    patients: int
    accuracy: dict[str, Measure]
    gap: NotRequired[dict[str, Gap]]


class Fairness(TypedDict):
    """One attribute, such as sex."""

    reference: str
    """The largest group; unknown is none."""
    groups: list[FairnessGroup]
    """The largest first, unknown last."""
    suppressed: list[str]
    """Groups of fewer than 20 patients."""
    largestGap: dict[str, float]
    """Between any two groups that are shown, by level."""
    conclusion: str
    """What can and cannot be concluded, in a sentence."""


class Metrics(TypedDict):
    """The content of metrics.json for one model. A key that is not required may be missing; `absent` then has the reason."""

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
    absent: dict[str, str]
    """Why a number could not be computed, by the name of its key: `sampling`, `calibration`, `fairness.language`, …."""
    sampling: NotRequired[Sampling]
    constrained: NotRequired[Constrained]
    prematureClosure: NotRequired[dict[str, dict[str, Closure]]]
    """By condition, `half_note` and `wrong_first`, and level."""
    calibration: NotRequired[Calibration]
    fairness: NotRequired[dict[str, Fairness]]
    """By attribute: sex, age, race, insurance, language."""


class Comparison(TypedDict):
    """Difference of two models on the same admissions, both computed on the same patient samples."""

    admissions: int
    differences: dict[str, Measure]
    """The second model minus the first, by the names of `HEADLINES`."""
