"""p-values of bootstrapped differences, and their correction."""

from __future__ import annotations

import numpy as np
import pytest

from deepicd.evaluation import bootstrap
from deepicd.evaluation.significance import holm, p_value, samples_needed


def test_a_p_value_is_twice_the_rarer_side_and_never_0() -> None:
    assert p_value(np.arange(1, 100, dtype=np.float64), 100) == pytest.approx(2 / 100)
    assert p_value(np.array([-1.0, -1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), 100) == pytest.approx(2 * 3 / 10)
    assert p_value(np.zeros(9), 100) == 1
    assert p_value(np.array([np.nan]), 100) is None


@pytest.mark.parametrize("shift", [0.0, 1.5, 1.9, 2.0, 2.1, 3.0])
def test_a_p_value_below_5_percent_goes_with_an_interval_that_excludes_0(shift: float) -> None:
    drawn = np.random.default_rng(0).normal(shift, 1, 4001)
    ends, p = bootstrap.interval(drawn), p_value(drawn, 100)
    assert ends is not None
    assert p is not None
    assert (p < 0.05) == (ends[0] > 0 or ends[1] < 0)


def test_p_values_are_uniform_where_there_is_no_difference() -> None:
    generator = np.random.default_rng(1)
    data = generator.normal(0, 1, (300, 200))
    found = []
    for values in data:
        rows = generator.integers(200, size=(200, 400))
        found.append(p_value(values[rows].mean(axis=0), 100) or 0)
    assert 0.02 < np.mean(np.array(found) < 0.05) < 0.09


def test_holm_multiplies_each_by_the_number_left_and_keeps_their_order() -> None:
    # The example of Holm's procedure with four tests: 0.005 × 4, 0.01 × 3, 0.03 × 2, 0.04 × 1 raised to the one before.
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({"a": 0.7, "b": 0.8}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}


@pytest.mark.parametrize("tests", [1, 28, 100])
def test_a_clear_difference_stays_significant_after_the_correction_for_many(tests: int) -> None:
    smallest = p_value(np.ones(samples_needed(tests, 1000)), 100)
    assert smallest is not None
    assert holm({0: smallest} | dict.fromkeys(range(1, tests), 0.9))[0] < 0.05


def test_no_samples_stay_none() -> None:
    assert samples_needed(28, 0) == 0


@pytest.mark.parametrize(("patients", "least"), [(1, 1.0), (2, 0.5), (6, 0.03125), (100, 2 / 1001)])
def test_few_patients_who_all_differ_alike_show_no_more_than_their_signs_do(patients: int, least: float) -> None:
    assert p_value(np.ones(1000), patients) == pytest.approx(least)
