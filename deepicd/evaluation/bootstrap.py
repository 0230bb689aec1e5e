"""Bootstrap by patient: admissions of one patient are not independent, so whole patients are drawn.

A sample draws as many patients as the test set has, with replacement, each with all admissions. A statistic is computed on
every sample, and its 2.5th and 97.5th percentiles are the 95 % interval (Efron & Tibshirani, An Introduction to
the Bootstrap, 1993, ch. 13; clusters: Davison & Hinkley, Bootstrap Methods, 1997, § 3.8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from deepicd.evaluation.classification import FloatArray
from deepicd.evaluation.metrics_schema import Measure

LEVEL = 0.95
"""Coverage of every interval."""
FEWEST_PATIENTS = 6
"""Minimum number of patients for intervals. The signs of n patients alone allow no two-sided p-value below 2 / 2^n: with
five it is 0.06, so no interval over them covers 95 %."""
_CHUNK = 2_000_000
"""Maximum number of weights in memory: 16 MB, for a test set of any size."""


def number_of_samples(subjects: Sequence[str], asked: int) -> int:
    """The number of samples to draw: as many as requested, or none if there are fewer than `FEWEST_PATIENTS`.

    Args:
        subjects: the patient of each of N admissions.
        asked: number of samples.
    """
    return asked if len(set(subjects)) >= FEWEST_PATIENTS else 0


def patient_samples(subjects: Sequence[str], samples: int, seed: int) -> Iterator[FloatArray]:
    """Draw samples of patients.

    Args:
        subjects: the patient of each of N admissions.
        samples: number of samples.
        seed: the same seed and subjects give the same samples.

    Yields:
        [R, N] how often each admission is in each of the next R samples.
    """
    patients, patient = np.unique(np.asarray(subjects), return_inverse=True)
    size = len(patients)
    generator = np.random.default_rng(seed)
    step = max(1, _CHUNK // max(1, len(subjects)))
    for start in range(0, samples, step):
        rows = min(step, samples - start)
        drawn = generator.integers(size, size=(rows, size)) + np.arange(rows)[:, None] * size
        times = np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size)
        yield np.take(times.astype(np.float64), patient, axis=1)


def patient_weights(subjects: Sequence[str], samples: int, seed: int) -> Iterator[FloatArray]:
    """The samples of `patient_samples` as weights: [N, R], in memory admission by admission."""
    for drawn in patient_samples(subjects, samples, seed):
        yield np.ascontiguousarray(drawn.T)


def resample(
    subjects: Sequence[str], samples: int, seed: int, statistics: Callable[[FloatArray], Mapping[str, FloatArray]]
) -> tuple[dict[str, float], dict[str, FloatArray]]:
    """Point estimates of statistics, and their values on samples of patients.

    Args:
        subjects: the patient of each of N admissions.
        samples: number of samples R; of too few patients none is drawn, see `number_of_samples`.
        seed: of the samples.
        statistics: [K] values of each statistic for weights [N, K].

    Returns:
        The value of each statistic, and [R] its values; no values without samples.
    """
    point = {name: float(value[0]) for name, value in statistics(np.ones((len(subjects), 1))).items()}
    number = number_of_samples(subjects, samples)
    chunks = [statistics(weights) for weights in patient_weights(subjects, number, seed)]
    drawn = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in (point if chunks else ())}
    return point, drawn


def measure(value: float, samples: FloatArray | None) -> Measure:
    """A number with the interval of its values on the samples; empty for an undefined number."""
    if np.isnan(value):
        return {"value": None, "interval": None}
    ends = None if samples is None else interval(samples)
    return {"value": value, "interval": None if ends is None else list(ends)}


def interval(values: FloatArray) -> tuple[float, float] | None:
    """95 % percentile interval of a statistic's values; None if it is undefined on every sample.

    Samples on which the statistic is undefined, because they drew none of its admissions, are left out.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(defined, [tail, 100 - tail])
    return float(low), float(high)
