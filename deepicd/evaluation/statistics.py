"""Every reported number of a test set, for many weightings of it together.

The point estimate is the weighting of all ones, and a bootstrap sample is another weighting, so both use the same code.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from deepicd import icd10
from deepicd.completion import CODE_FAULTS, Fault
from deepicd.errors import UserError
from deepicd.evaluation import classification, sampling, variants
from deepicd.evaluation.classification import BoolArray, Counts, FloatArray, Labels
from deepicd.evaluation.frequency import Frequency, thirds
from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.predictions import Prediction, valid_answers, valid_codes
from deepicd.evaluation.predictions import local_codes as local_codes_of

MAJORITY = "majority"
"""Name of the answer that most of the samples give."""


@dataclass(frozen=True, slots=True)
class TestSet:
    """One model's predictions for N admissions, as arrays."""

    __test__ = False  # keeps pytest from collecting the class because of its name

    subjects: tuple[str, ...]
    """[N] the patient of each admission."""
    labels: Mapping[Level, Labels]
    """Gold and predicted classes at each level."""
    groups: Mapping[Level, Mapping[str, BoolArray]]
    """[C] which classes belong to each group: `frequency.rare`, `chapter.04`, …."""
    training: Mapping[Level, Mapping[str, int]] | None
    """Admissions of the training set per class; None if unknown: then there are no frequency groups."""
    observations: Mapping[str, FloatArray]
    """[N] values that are averaged over admissions: 0 or 1 for rates, otherwise rewards; NaN if unknown."""
    alternatives: Mapping[str, Mapping[Level, Labels]]
    """The same gold classes with other answers of the model: `majority` of its samples, `constrained`."""


def encode(
    predictions: Sequence[Prediction], train_counts: Mapping[str, int] | None = None, local_codes: Collection[str] = ()
) -> TestSet:
    """Turn predictions into arrays.

    Args:
        predictions: one per admission.
        train_counts: admissions of the training set per code.
        local_codes: codes of `train_counts` that no release has, in addition to the local gold codes of the predictions.

    Raises:
        UserError: `predictions` is empty, or a gold code or a code of `train_counts` is neither in ICD-10-CM nor local.
    """
    if not predictions:
        raise UserError("predictions: there are none: give at least one")
    for record in predictions:
        if not (icd10.is_valid(record.gold) or record.local_gold):
            raise UserError(f"prediction {record.id}: gold is not an ICD-10-CM code: correct or drop the admission")
    local = {*local_codes, *(record.gold for record in predictions if record.local_gold)}
    for code in train_counts or ():
        if not (icd10.is_valid(code) or code in local):
            raise UserError("training counts: have a code that is not in ICD-10-CM: correct or drop it")
    class_at = cache(class_of)
    answers = valid_answers(predictions)

    def labelled(codes: Sequence[str | None]) -> dict[Level, Labels]:
        return {
            level: classification.encode(
                [class_at(record.gold, level) for record in predictions],
                [None if code is None else class_at(code, level) for code in codes],
            )
            for level in Level
        }

    labels = labelled(answers)
    named = local_codes_of(predictions)
    training = None if train_counts is None else {level: _training(train_counts, level) for level in Level}
    return TestSet(
        subjects=tuple(record.subject_id for record in predictions),
        labels=labels,
        groups={
            level: _by_frequency(labels[level], None if training is None else training[level])
            | _by_chapter(labels[level], level)
            for level in Level
        },
        training=training,
        observations=_observations(predictions, answers)
        | _of_samples(predictions, answers, named)
        | _of_closure(predictions, answers, named),
        alternatives={name: labelled(codes) for name, codes in _alternatives(predictions, named).items()},
    )


def _training(train_counts: Mapping[str, int], level: Level) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code, number in train_counts.items():
        name = class_of(code, level)
        counts[name] = counts.get(name, 0) + number
    return counts


def _by_frequency(labels: Labels, counts: Mapping[str, int] | None) -> dict[str, BoolArray]:
    if counts is None:
        return {}
    groups = thirds(counts)
    own = [groups.get(name, Frequency.UNSEEN) for name in labels.classes]
    return {f"frequency.{group}": np.array([name is group for name in own]) for group in Frequency}


def _by_chapter(labels: Labels, level: Level) -> dict[str, BoolArray]:
    own = [name if level is Level.CHAPTER else class_of(name, Level.CHAPTER) for name in labels.classes]
    present = sorted({own[row] for row in np.unique(labels.gold)})
    return {f"chapter.{chapter}": np.array([name == chapter for name in own]) for chapter in present}


def _observations(predictions: Sequence[Prediction], answers: Sequence[str | None]) -> dict[str, FloatArray]:
    def observed(values: Sequence[float | bool | None]) -> FloatArray:
        return np.array([np.nan if value is None else float(value) for value in values])

    known = [None if record.faults is None else frozenset(record.faults) for record in predictions]
    names = [*Fault, *sorted({name for faults in known if faults for name in faults} - set(Fault))]
    observations = {
        "format": observed([None if faults is None else faults <= CODE_FAULTS for faults in known]),
        "validCode": observed([code is not None for code in answers]),
        "missing": observed([record.prediction is None for record in predictions]),
        "invalid": observed(
            [record.prediction is not None and code is None for record, code in zip(predictions, answers, strict=True)]
        ),
        "outsideYears": observed([outside_years(record, code) for record, code in zip(predictions, answers, strict=True)]),
        "reward": observed([record.reward for record in predictions]),
    }
    for name in names:
        observations[f"fault.{name}"] = observed([None if faults is None else name in faults for faults in known])
    for name in sorted({name for record in predictions for name in record.terms}):
        observations[f"term.{name}"] = observed([record.terms.get(name) for record in predictions])
    return observations


def _alternatives(predictions: Sequence[Prediction], local: Collection[str]) -> dict[str, list[str | None]]:
    """Other valid answers of the model to all admissions, by name."""
    found = {}
    if sampling.smallest_number(predictions):
        found[MAJORITY] = [sampling.majority(record, local) for record in predictions]
    if all(variants.CONSTRAINED in record.variants for record in predictions):
        found[variants.CONSTRAINED] = valid_codes((record.variants[variants.CONSTRAINED] for record in predictions), local)
    return found


def _of_samples(
    predictions: Sequence[Prediction], answers: Sequence[str | None], local: Collection[str]
) -> dict[str, FloatArray]:
    """`LEVEL.pass.K` and `LEVEL.agreement` of each admission; nothing if one has no samples."""
    drawn = sampling.smallest_number(predictions)
    if not drawn:
        return {}
    valid = [valid_codes(record.samples or (), local) for record in predictions]
    found: dict[str, FloatArray] = {}
    for level in Level:
        right = [
            sum(code is not None and class_of(code, level) == class_of(record.gold, level) for code in codes)
            for record, codes in zip(predictions, valid, strict=True)
        ]
        for k in sampling.sizes(drawn):
            values = [sampling.pass_at(number, len(codes), k) for number, codes in zip(right, valid, strict=True)]
            found[f"{level}.pass.{k}"] = np.array(values)
        agreed = [sampling.agreement(answer, codes, level) for answer, codes in zip(answers, valid, strict=True)]
        found[f"{level}.agreement"] = np.array([np.nan if value is None else value for value in agreed])
    return found


def _of_closure(
    predictions: Sequence[Prediction], answers: Sequence[str | None], local: Collection[str]
) -> dict[str, FloatArray]:
    """`LEVEL.CONDITION.held`, `.right` and, with a planted diagnosis, `.followed`; NaN where an admission does not count."""
    found: dict[str, FloatArray] = {}
    for condition in (variants.HALF, variants.MISLED):
        if not any(condition in record.variants for record in predictions):
            continue
        changed = valid_codes((record.variants.get(condition) for record in predictions), local)
        for level in Level:
            held, right, followed = [], [], []
            for record, before, after in zip(predictions, answers, changed, strict=True):
                asked = condition in record.variants
                planted = record.variants.get(variants.PLANTED)
                held.append(_same(before, after, level) if asked and before is not None else np.nan)
                right.append(_same(record.gold, after, level) if asked else np.nan)
                # An answer that was the planted one before does not follow it.
                counts = asked and planted is not None and not _same(planted, before, level)
                counts = counts and not _same(planted, record.gold, level)
                followed.append(_same(planted, after, level) if counts else np.nan)
            found[f"{level}.{condition}.held"] = np.array(held, dtype=np.float64)
            found[f"{level}.{condition}.right"] = np.array(right, dtype=np.float64)
            if condition == variants.MISLED:
                found[f"{level}.{condition}.followed"] = np.array(followed, dtype=np.float64)
    return found


def _same(first: str | None, second: str | None, level: Level) -> float:
    """1 if both codes have the same class, else 0; a missing code is like none."""
    return float(first is not None and second is not None and class_of(first, level) == class_of(second, level))


def outside_years(record: Prediction, code: str | None) -> bool | None:
    """Whether a code was billable in some release, but in none of the years that the admission can be in.

    None if those years are unknown or not in the table.
    """
    if record.fiscal_years is None:
        return None
    first, last = record.fiscal_years
    return icd10.is_of_other_years(code or "", range(first, last + 1))


def counted(labels: Mapping[Level, Labels], samples: FloatArray) -> dict[Level, Counts]:
    """The counts of each level; `samples` is [R, N], see `classification.count_nested`."""
    return dict(zip(Level, classification.count_nested([labels[level] for level in Level], samples), strict=True))


def statistics(test: TestSet, weights: FloatArray) -> dict[str, FloatArray]:
    """Compute every statistic.

    Args:
        test: N admissions.
        weights: [N, R] how often each admission counts in each of R weightings.

    Returns:
        [R] per name, NaN where undefined: `code.macroF1`, `code.frequency.rare.macroF1`,
        `category.chapter.04.macroF1`, `format`, `reward`, `fault.truncated`, `term.outcome`, ….
    """
    values: dict[str, FloatArray] = {}
    samples = np.ascontiguousarray(weights.T)
    others = {name: counted(labels, samples) for name, labels in test.alternatives.items()}
    for level, counts in counted(test.labels, samples).items():
        values[f"{level}.macroF1"] = classification.macro_f1(counts)
        values[f"{level}.macroF1Union"] = classification.macro_f1_union(counts)
        values[f"{level}.microF1"] = classification.micro_f1(counts)
        values[f"{level}.accuracy"] = classification.accuracy(counts)
        groups = np.stack(list(test.groups[level].values()))
        by_group = (classification.macro_f1_by(counts, groups), classification.accuracy_by(counts, groups))
        for name, macro_f1, accuracy in zip(test.groups[level], *by_group, strict=True):
            values[f"{level}.{name}.macroF1"] = macro_f1
            values[f"{level}.{name}.accuracy"] = accuracy
        for name, by_level in others.items():
            other = by_level[level]
            values[f"{level}.{name}.macroF1"] = classification.macro_f1(other)
            values[f"{level}.{name}.microF1"] = classification.micro_f1(other)
            values[f"{level}.{name}.accuracy"] = classification.accuracy(other)
            values[f"{level}.{name}.gain"] = values[f"{level}.{name}.macroF1"] - values[f"{level}.macroF1"]
    observed = np.stack(list(test.observations.values()))
    known = ~np.isnan(observed)
    means = classification.ratio(np.where(known, observed, 0.0) @ weights, known.astype(np.float64) @ weights)
    return values | dict(zip(test.observations, means, strict=True))
