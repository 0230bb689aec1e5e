"""Words of the synthetic notes."""

from __future__ import annotations

from deepicd import icd10
from deepicd.data.synthetic.lexicon import lexicon


def test_known_terms_get_their_paraphrases_in_order() -> None:
    said = lexicon().paraphrases("Chronic pain, left knee")
    assert said == [
        ("going on for years", "long-standing"),
        ("pain",),
        ("L side", "left-sided", "on the left"),
        ("knee",),
    ]


def test_a_term_after_without_is_denied() -> None:
    assert lexicon().paraphrases("Ulcer without perforation, with bleeding") == [
        ("ulcer",),
        ("no free air on CT", "no burst on CT"),
        ("passing blood", "bloody"),
    ]


def test_the_longest_term_wins() -> None:
    assert lexicon().paraphrases("acute on chronic") == [("flare on top of old disease", "new decline from baseline")]


def test_long_words_are_shortened_and_empty_ones_left_out() -> None:
    assert lexicon().paraphrases("Other pleurodynia, unspecified") == [("pleur",)]


def test_every_category_of_the_lexicon_exists_and_can_present() -> None:
    for category, presentation in lexicon().categories.items():
        assert icd10.is_valid(category), category
        assert len(presentation.finding) >= 3, category
        assert presentation.complaint, category


def test_every_chapter_has_complaints() -> None:
    assert set(lexicon().chapters) == set(range(1, 23))


def test_codes_that_are_meant_to_be_dropped_are_not_billable() -> None:
    assert not any(icd10.is_billable(code) for code in lexicon().fill["never_billable"])
