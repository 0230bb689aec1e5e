import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd import icd10
from deepicd.rewards.terms import hierarchy

SOME_CODES = random.Random(0).sample(icd10.billable_codes(), 500)
CHARACTERS = st.text("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ", max_size=4)


@pytest.mark.parametrize(
    ("code", "gold", "value"),
    [
        ("M5116", "M5116", 4 / 4),
        ("M5117", "M5116", 3 / 4),
        ("M511", "M5116", 3 / 4),
        ("M51", "M5116", 2 / 4),
        ("M5106", "M5116", 2 / 4),
        ("M5416", "M5116", 1 / 4),
        ("G8929", "M5116", 0),
        (None, "M5116", 0),
        # D is in chapters 2 and 3, H in 7 and 8.
        ("D500", "D509", 2 / 3),
        ("D649", "D509", 1 / 3),
        ("D49", "D509", 0),
        ("H6001", "H5901", 0),
        # Placeholders that fill up to the seventh character are no level, those of the table are.
        ("W378XXA", "W378XXS", 3 / 4),
        ("W378XX", "W378XXS", 3 / 4),
        ("W378", "W378XXS", 3 / 4),
        ("T443X5A", "T443X6A", 4 / 6),
        # A code that does not exist is worth its deepest existing ancestor, and never the gold code's last level.
        ("M51169", "M5116", 3 / 4),
        ("M51179", "M5116", 3 / 4),
        ("M519999", "M5116", 2 / 4),
        ("M98", "M5116", 0),
        ("M98999", "M5116", 0),
        ("", "M5116", 0),
        # Gold codes of every length.
        ("A33", "A33", 1),
        ("A34", "A33", 1 / 2),
        ("A339", "A33", 1 / 2),
        # A gold code that is not billable: a more specific answer is not the gold code.
        ("M5116", "M511", 2 / 3),
    ],
)
def test_share_of_the_gold_codes_levels(code: str | None, gold: str, value: float) -> None:
    assert hierarchy(code, gold) == pytest.approx(value)


@pytest.mark.parametrize("gold", ["A33", "A000", "M5116", "C50911", "S72001A"])
def test_the_right_code_earns_1_however_long_it_is(gold: str) -> None:
    assert hierarchy(gold, gold) == 1


@given(st.sampled_from(SOME_CODES), CHARACTERS.filter(bool), st.integers(3, 7))
def test_a_non_existent_extension_earns_no_more_than_its_deepest_existing_ancestor(gold: str, added: str, kept: int) -> None:
    invented = gold[:kept] + added
    if icd10.is_valid(invented):
        return
    assert hierarchy(invented, gold) <= hierarchy(icd10.ancestors(invented)[0], gold)
    assert hierarchy(invented, gold) < 1


@given(st.sampled_from(SOME_CODES), st.sampled_from(SOME_CODES), CHARACTERS)
def test_values_are_in_the_unit_interval_and_1_is_only_for_the_gold_code(gold: str, other: str, added: str) -> None:
    for code in (other, other[:4], gold[:3] + added, added):
        assert 0 <= hierarchy(code, gold) <= 1
        assert (hierarchy(code, gold) == 1) == (code == gold)


@given(st.sampled_from(SOME_CODES))
def test_each_level_further_along_the_gold_code_earns_more(gold: str) -> None:
    path = [*reversed(icd10.ancestors(gold)), gold]
    values = [hierarchy(code, gold) for code in path]
    assert all(shorter < longer for shorter, longer in itertools.pairwise(values))
    assert values[-1] == 1


def test_a_local_gold_code_is_a_level_below_its_deepest_existing_ancestor() -> None:
    assert [hierarchy(code, "M51169") for code in ("M51169", "M5116", "M511", "M5416")] == [1, 4 / 5, 3 / 5, 1 / 5]


def test_a_local_gold_code_of_no_category_is_right_or_wrong() -> None:
    assert (hierarchy("ZZ999", "ZZ999"), hierarchy("ZZ998", "ZZ999"), hierarchy("M5116", "ZZ999")) == (1, 0, 0)


@pytest.mark.parametrize(
    ("code", "gold", "value"),
    [
        # Billable in FY2016 only, a header since: its own children come one level after it.
        ("K859", "K859", 1),
        ("K8590", "K859", 2 / 3),
        ("K859", "K8590", 3 / 4),
        ("K858", "K859", 2 / 3),
        # T81.4XXA became T81.40XA to T81.49XA in FY2019: siblings under T81.4.
        ("T8149XA", "T814XXA", 3 / 4),
        ("T814XXD", "T814XXA", 3 / 4),
        ("T814XXA", "T8149XA", 3 / 5),
        ("T8130XA", "T814XXA", 2 / 4),
    ],
)
def test_a_retired_gold_code_has_the_siblings_of_the_tree_of_all_years(code: str, gold: str, value: float) -> None:
    assert hierarchy(code, gold) == pytest.approx(value)
