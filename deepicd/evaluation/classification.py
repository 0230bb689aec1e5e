"""Counts and F1 of single-label predictions, for many weightings of the test set together.

With TP, FP and FN of a class: F1 = 2TP / (2TP + FP + FN). Each admission has one gold class g and at most one
predicted class p, so 2TP + FP + FN = (admissions with g = c) + (admissions with p = c). An admission without a
prediction adds to the first sum only: it is a false negative of its gold class and not a false positive of any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Labels:
    """Gold and predicted classes of N admissions, at one level."""

    classes: tuple[str, ...]
    """The C classes that occur as gold or as a prediction, sorted."""
    gold: IntArray
    """[N] index into `classes`."""
    predicted: IntArray
    """[N] index into `classes`; -1 without a valid prediction."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts under R weightings; each array is [C, R]."""

    true_positives: FloatArray
    gold: FloatArray
    predicted: FloatArray


def encode(gold: Sequence[str], predicted: Sequence[str | None]) -> Labels:
    """Number the classes of gold and predictions."""
    classes = tuple(sorted({*gold, *(name for name in predicted if name is not None)}))
    index: dict[str | None, int] = {name: position for position, name in enumerate(classes)}
    index[None] = -1
    return Labels(
        classes,
        np.array([index[name] for name in gold], dtype=np.int64),
        np.array([index[name] for name in predicted], dtype=np.int64),
    )


def count(labels: Labels, weights: FloatArray) -> Counts:
    """Count under R weightings.

    Args:
        labels: gold and predicted classes of N admissions.
        weights: [N, R] how often each admission counts in each weighting.
    """
    classes = len(labels.classes)
    return Counts(
        _sums(np.where(labels.gold == labels.predicted, labels.gold, -1), weights, classes),
        _sums(labels.gold, weights, classes),
        _sums(labels.predicted, weights, classes),
    )


def count_nested(levels: Sequence[Labels], samples: FloatArray) -> list[Counts]:
    """The same counts at several levels, for many weightings: whatever their number, the admissions are counted twice.

    Whole weights, such as those of a bootstrap, give exactly the counts of `count`.

    Args:
        levels: labels of the same N admissions, the coarsest level first. Admissions of one class are of one class at each
            level before, so that an answer that is right at a level is right at each level before.
        samples: [R, N] how often each admission counts in each weighting: `weights` of `count`, transposed.
    """
    finest, classes = levels[-1], len(levels[-1].classes)
    depths = len(levels) + 1
    right = np.stack([labels.gold == labels.predicted for labels in levels]).sum(axis=0)
    present, gold_row = np.unique(finest.gold, return_inverse=True)
    cells = _by_sample(gold_row * depths + right, samples, len(present) * depths).reshape(-1, depths, len(samples))
    predicted = _by_sample(np.where(finest.predicted < 0, classes, finest.predicted), samples, classes + 1)[:classes]
    gold, *right_at = np.zeros((depths, classes, len(samples)))
    for depth, own in enumerate((gold, *right_at)):
        own[present] = cells[:, depth:].sum(axis=1)
    counts = []
    for labels, true_positives in zip(levels, right_at, strict=True):
        if labels is finest:
            counts.append(Counts(true_positives, gold, predicted))
            continue
        above = np.zeros(classes, dtype=np.int64)
        above[finest.gold] = labels.gold
        answered = finest.predicted >= 0
        above[finest.predicted[answered]] = labels.predicted[answered]
        counts.append(Counts(*(_sums(above, own, len(labels.classes)) for own in (true_positives, gold, predicted))))
    return counts


def _by_sample(classes: IntArray, samples: FloatArray, size: int) -> FloatArray:
    """[size, R] sums of the weights [R, N] over each class."""
    sums = np.empty((len(samples), size))
    for row, weights in zip(sums, samples, strict=True):
        row[:] = np.bincount(classes, weights, size)
    return np.ascontiguousarray(sums.T)


def _sums(classes: IntArray, weights: FloatArray, size: int) -> FloatArray:
    """[size, R] sums of weights over each class; class -1 is left out."""
    sums = np.zeros((size, weights.shape[1]))
    order = np.argsort(classes, kind="stable")
    order = order[np.count_nonzero(classes < 0) :]
    present, starts = np.unique(classes[order], return_index=True)
    if len(present):
        sums[present] = np.add.reduceat(weights[order], starts, axis=0)
    return sums


def f1(counts: Counts) -> FloatArray:
    """[C, R] F1 of every class; NaN if the class is neither gold nor predicted."""
    return ratio(2 * counts.true_positives, counts.gold + counts.predicted)


def macro_f1(counts: Counts) -> FloatArray:
    """[R] headline macro F1: mean F1 over the classes that occur as gold; NaN if none does."""
    return _mean(f1(counts), counts.gold > 0)


def macro_f1_by(counts: Counts, groups: BoolArray) -> FloatArray:
    """[K, R] headline macro F1 within K groups of classes; their false positives still come from all admissions.

    Args:
        counts: counts of one level.
        groups: [K, C] which classes belong to each group.
    """
    present = (counts.gold > 0).astype(np.float64)
    members = groups.astype(np.float64)
    return ratio(members @ np.where(present > 0, f1(counts), 0.0), members @ present)


def macro_f1_union(counts: Counts) -> FloatArray:
    """[R] mean F1 over the classes that occur as gold or as a prediction (scikit-learn's `macro`)."""
    return _mean(f1(counts), counts.gold + counts.predicted > 0)


def micro_f1(counts: Counts) -> FloatArray:
    """[R] F1 of the counts summed over classes: equal to accuracy if every prediction is valid, otherwise above it."""
    return ratio(2 * counts.true_positives.sum(axis=0), (counts.gold + counts.predicted).sum(axis=0))


def accuracy(counts: Counts) -> FloatArray:
    """[R] share of admissions whose gold class was predicted."""
    return ratio(counts.true_positives.sum(axis=0), counts.gold.sum(axis=0))


def accuracy_by(counts: Counts, groups: BoolArray) -> FloatArray:
    """[K, R] accuracy over the admissions whose gold class is in each of K groups; `groups` is [K, C]."""
    members = groups.astype(np.float64)
    return ratio(members @ counts.true_positives, members @ counts.gold)


def _mean(values: FloatArray, chosen: BoolArray) -> FloatArray:
    return ratio(np.where(chosen, values, 0.0).sum(axis=0), chosen.sum(axis=0).astype(np.float64))


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Element-wise `part / whole`, NaN where `whole` is 0."""
    quotients: FloatArray = np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
    return quotients
