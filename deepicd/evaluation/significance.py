"""Which differences are more than chance: p-values of bootstrapped differences, and Holm's correction for many of them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

from deepicd.evaluation.classification import FloatArray

LEVEL = 0.05
"""A difference is significant if its corrected p-value is below this."""
K = TypeVar("K", bound=Hashable)


def p_value(differences: FloatArray, patients: int) -> float | None:
    """Two-sided p-value of "the difference is 0", from its values on R bootstrap samples; None if it is defined on none.

    Twice the share of samples on the rarer side of 0, with one sample added to it, so that it is never 0 (Davison & Hinkley,
    Bootstrap Methods, 1997, § 4.2). It agrees with the percentile interval: below 0.05, the 95 % interval excludes 0.

    It is never below 2 / 2^patients, which is all that the signs of so few patients can show: a bootstrap of patients who all
    differ alike has no sample on the other side of 0, however few they are.
    """
    defined = differences[~np.isnan(differences)]
    if not len(defined):
        return None
    rarer = min(np.count_nonzero(defined <= 0), np.count_nonzero(defined >= 0))
    least = 2.0 ** (1 - min(patients, 64))
    return float(min(1.0, max(least, 2 * (rarer + 1) / (len(defined) + 1))))


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """The p-values corrected for their number (Holm, 1979): the chance of any false finding among them stays below `LEVEL`."""
    ordered = sorted(p_values, key=lambda name: p_values[name])
    corrected: dict[K, float] = {}
    before = 0.0
    for place, name in enumerate(ordered):
        before = min(1.0, max(before, (len(ordered) - place) * p_values[name]))
        corrected[name] = before
    return {name: corrected[name] for name in p_values}


def samples_needed(tests: int, asked: int) -> int:
    """Bootstrap samples with which the smallest p-value can stay significant after a correction for this many tests.

    The smallest p-value of R samples is 2 / (R + 1); 200 samples a test leave it at 0.01 after the correction. `asked`: the
    least number; 0 stays 0.
    """
    return max(asked, 200 * tests) if asked else 0
