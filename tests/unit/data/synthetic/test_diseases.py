"""Which codes the synthetic hospital sees."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from deepicd import icd10
from deepicd.data.synthetic.diseases import choose, frequencies
from deepicd.errors import UserError


@pytest.mark.parametrize("number", [2, 3, 60, 500])
def test_the_requested_number_of_distinct_billable_codes_is_chosen(number: int) -> None:
    codes = [disease.code for disease in choose(number, random.Random(0))]
    assert len(set(codes)) == len(codes) == number
    assert all(icd10.is_billable(code) for code in codes)


def test_codes_spread_over_chapters_and_have_siblings_in_their_category() -> None:
    diseases = choose(60, random.Random(0))
    assert len({disease.chapter for disease in diseases}) >= 8
    siblings = Counter(icd10.category(disease.code) for disease in diseases)
    assert sum(count for count in siblings.values() if count >= 2) >= 58


def test_a_chapter_has_several_categories() -> None:
    diseases = choose(60, random.Random(0))
    categories = {(disease.chapter, icd10.category(disease.code)) for disease in diseases}
    assert max(Counter(chapter for chapter, _ in categories).values()) >= 2


def test_siblings_differ_in_their_signs() -> None:
    diseases = choose(60, random.Random(0))
    for disease in diseases:
        siblings = [one for one in diseases if icd10.category(one.code) == icd10.category(disease.code)]
        assert sum(one.signs == disease.signs for one in siblings) == 1, disease.code


def test_the_seed_decides_the_choice() -> None:
    assert choose(60, random.Random(1)) == choose(60, random.Random(1))
    assert choose(60, random.Random(1)) != choose(60, random.Random(2))


def test_frequencies_have_a_long_tail() -> None:
    weights = frequencies(60, 0.8)
    assert weights == sorted(weights, reverse=True)
    assert weights[0] / weights[59] > 20


def test_a_lower_exponent_has_a_shorter_tail_and_zero_none() -> None:
    assert frequencies(60, 0.3)[0] / frequencies(60, 0.3)[59] == pytest.approx(60**0.3)
    assert set(frequencies(60, 0)) == {1.0}


def test_conditions_of_one_sex_have_that_sex() -> None:
    diseases = choose(3000, random.Random(0))
    assert all(disease.sex == "F" for disease in diseases if disease.chapter == 15)
    assert any(disease.sex is None for disease in diseases)


def test_more_codes_than_the_table_has_are_refused() -> None:
    with pytest.raises(UserError, match=r"data\.synthetic\.codes: 70000 requested, but only \d+ codes are suitable"):
        choose(70_000, random.Random(0))
