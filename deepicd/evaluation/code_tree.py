"""A linear classifier of codes along their hierarchy: the chapter, then the category within it, then the code within that.

A classifier of each code against all others would need as many passes over all notes as there are codes, and a weight for each
word and code. Here a code is distinguished only from its siblings, on their notes. The probability of a code is the product
along its path. Needs scikit-learn.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from deepicd.evaluation.classification import FloatArray, IntArray
from deepicd.evaluation.levels import Level, class_of

_SMALLEST = 0.02
"""Weights below this share of their class's largest one are left out. Most are below it, and the answers stay the same."""


@dataclass(frozen=True)
class _Step:
    """The classes of one level."""

    classes: list[tuple[str, ...]]
    """[K] paths from the chapter, sorted: siblings are neighbours."""
    parent: IntArray
    """[K] place of each one's parent among the classes of the level above; 0 at the first level."""
    first: IntArray
    """Place of the first of each group of siblings."""
    weights: Any
    """[words, K] sparse."""
    bias: FloatArray
    """[K]"""


class CodeTree:
    """Fitted on notes and their codes."""

    def __init__(self, rows: Any, codes: Sequence[str], *, alpha: float, class_weight: str | None) -> None:
        """`rows`: [N, words] sparse; `alpha`: strength of the L2 penalty; `class_weight`: None or `balanced`."""
        self._settings = {
            "loss": "log_loss", "alpha": alpha, "class_weight": class_weight, "random_state": 0, "n_iter_no_change": 2,
        }  # fmt: skip
        paths = [tuple(class_of(code, level) for level in Level) for code in codes]
        self._steps = [self._step(rows, [path[:depth] for path in paths]) for depth in range(1, len(Level) + 1)]
        self.codes: list[str] = [path[-1] for path in self._steps[-1].classes]
        """[C] the codes, in the order of `shares`."""

    def shares(self, rows: Any) -> FloatArray:
        """[N, C] probability of each code."""
        above = np.ones((rows.shape[0], 1))
        for step in self._steps:
            scores = (rows @ step.weights).toarray() + step.bias
            likely = 1 / (1 + np.exp(-scores)) + 1e-12
            sums = np.add.reduceat(likely, step.first, axis=1)
            sizes = np.diff([*step.first, len(step.classes)])
            above = above[:, step.parent] * likely / np.repeat(sums, sizes, axis=1)
        found: FloatArray = above
        return found

    def _step(self, rows: Any, paths: Sequence[tuple[str, ...]]) -> _Step:
        classes = sorted(set(paths))
        place = {path: number for number, path in enumerate(classes)}
        owner = np.array([place[path] for path in paths])
        above = {path: number for number, path in enumerate(sorted({path[:-1] for path in classes}))}
        parent = np.array([above[path[:-1]] for path in classes])
        first = np.flatnonzero(np.diff(parent, prepend=-1))
        order = np.argsort(owner, kind="stable")
        bounds = np.searchsorted(owner[order], [*first, len(classes)])
        groups = [np.sort(order[low:high]) for low, high in pairwise(bounds)]
        jobs = -1 if len(groups) == 1 else None  # chapters are the children of one node: its classes share the cores instead
        with ThreadPoolExecutor(os.cpu_count()) as threads:  # fitting holds no interpreter lock
            found = list(threads.map(lambda group: _siblings(rows[group], owner[group], self._settings, jobs), groups))
        words, places, weights, bias = (np.concatenate(parts) for parts in zip(*found, strict=True))
        sparse = type(rows)((weights, (words, places)), (rows.shape[1], len(classes)))
        return _Step(classes, parent, first, sparse, bias)


def _siblings(
    rows: Any, owner: IntArray, settings: Mapping[str, Any], jobs: int | None
) -> tuple[IntArray, IntArray, npt.NDArray[np.float32], FloatArray]:
    """Weights that distinguish siblings, as words, classes and values, and the bias of each class; none for an only child.

    Args:
        rows: [N, words] notes of the siblings.
        owner: [N] their classes.
        settings: of the classifier.
        jobs: threads.
    """
    from sklearn.linear_model import SGDClassifier

    classes, label = np.unique(owner, return_inverse=True)
    if len(classes) == 1:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0, dtype=np.float32), np.zeros(1)
    # A word that is in none of the notes would only take memory.
    words, rows.indices = np.unique(rows.indices, return_inverse=True)
    rows = type(rows)((rows.data, rows.indices, rows.indptr), (rows.shape[0], len(words)))
    model = SGDClassifier(**settings, n_jobs=jobs).fit(rows, label)
    weights, bias = model.coef_, model.intercept_
    if len(classes) == 2:
        weights, bias = np.vstack([-weights, weights]), np.concatenate([-bias, bias])
    kept = np.abs(weights) >= _SMALLEST * np.abs(weights).max(axis=1, keepdims=True)
    place, word = np.nonzero(kept)
    return words[word], classes[place], weights[kept].astype(np.float32), bias
