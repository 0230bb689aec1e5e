import math

import pytest

from deepicd.rewards.judge.second import Opinion, SecondSums

NAMES = ["cites", "follows"]
YES, NO, MIXED = (True, True), (False, False), (True, False)


def test_the_mean_is_over_known_values_and_missing_ones_are_counted() -> None:
    sums = SecondSums()
    for value in (1.0, 0.5, math.nan):
        sums.add(NAMES, YES, Opinion(value, None))
    assert (sums.mean, sums.values, sums.missing) == (0.75, 2, 1)
    assert math.isnan(SecondSums().mean)


def test_the_two_agree_where_both_gave_a_verdict() -> None:
    sums = SecondSums()
    for first, second in ((YES, YES), (MIXED, NO), (NO, NO), (None, YES), (YES, None)):
        sums.add(NAMES, first, Opinion(0.5, second))
    assert sums.agreement.answers == 6
    assert sums.agreement.agreed == pytest.approx(5 / 6)
    assert sums.agreement.kappa == pytest.approx(2 / 3)
    assert sums.criteria["follows"].kappa.kappa == 1


def test_sums_that_are_written_add_up_again() -> None:
    one, both = SecondSums(), SecondSums()
    one.add(NAMES, MIXED, Opinion(1.0, YES))
    for _ in range(2):
        both.merge(one.to_dict())
    assert (both.values, both.total, both.criteria["follows"].second) == (2, 2.0, 2)
