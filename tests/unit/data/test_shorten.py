"""Notes over the budget: what is shortened, in which order, and what never happens."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.data.headers import ADMISSION, Header
from deepicd.data.sections import render
from deepicd.data.shorten import ORDER, WHOLE, Section, Shortened, shorten, shorten_all, split

NOTE = render({
    Header.CHIEF_COMPLAINT: "cough for ten days",
    Header.PRESENT_ILLNESS: "He came with a cough.\nPhysical Exam: as below, said the clinic.\nHe has no fever.",
    Header.PAST_HISTORY: "asthma since childhood",
    Header.MEDICATIONS: "1. albuterol inhaler\n2. aspirin daily",
    Header.PHYSICAL_EXAM: "Lungs: wheezes on both sides",
    Header.SOCIAL_HISTORY: "smokes ten a day",
})  # fmt: skip


def words(note: str) -> int:
    return len(note.split())


def uneven(note: str) -> int:
    """Tokens as a tokenizer has them that knows some words and spells others."""
    return sum(1 if len(word) < 6 else 1 + len(word) // 2 for word in re.findall(r"\w+|[^\w\s]", note)) + 3


def cut(budget: int, note: str = NOTE) -> Shortened:
    return shorten(split(note), budget, words)


bodies = st.lists(st.text(alphabet="ab ., \n:äß測", min_size=1, max_size=60), min_size=1, max_size=3).map(" x\n".join)
sections = st.dictionaries(st.sampled_from(ADMISSION), bodies, min_size=1)
notes = st.one_of(sections.map(render), st.text(max_size=300))
budgets = st.integers(min_value=3, max_value=80)


@given(notes)
def test_the_sections_together_are_the_note(note: str) -> None:
    assert "".join(section.text for section in split(note)) == note


@given(notes, budgets)
def test_a_shortened_note_is_never_over_the_budget(note: str, budget: int) -> None:
    assert uneven(shorten(split(note), budget, uneven).note) <= budget


@given(notes, budgets)
def test_a_note_within_the_budget_stays_as_it_is(note: str, budget: int) -> None:
    if uneven(note) <= budget:
        assert shorten(split(note), budget, uneven) == Shortened(note)


@given(notes, budgets)
def test_a_shortened_note_is_not_shortened_again(note: str, budget: int) -> None:
    once = shorten(split(note), budget, uneven).note
    assert shorten(split(once), budget, uneven) == Shortened(once)


@given(notes, budgets)
def test_text_is_only_ever_removed_and_at_the_end_of_a_section(note: str, budget: int) -> None:
    before = split(note)
    rest = shorten(before, budget, uneven).note
    for section in before:  # in their order, each with a beginning of its own, or not at all
        kept = next((end for end in range(len(section.text), 0, -1) if rest.startswith(section.text[:end])), 0)
        rest = rest[kept:].removeprefix("\n")
    assert rest == ""


@given(notes, budgets)
def test_a_section_is_touched_only_when_those_before_it_in_the_order_are_gone(note: str, budget: int) -> None:
    before = split(note)
    removed = shorten(before, budget, uneven).removed
    ranked = sorted(before, key=lambda one: [*(kind.value for kind in ORDER), WHOLE].index(one.name))
    touched = [section.name in removed for section in ranked]
    assert touched == sorted(touched, reverse=True)
    for section in [section for section in ranked if section.name in removed][:-1]:
        assert removed[section.name] == len(section.text)


@given(st.lists(notes, max_size=8), budgets)
def test_many_notes_together_are_shortened_as_each_is_alone(some: list[str], budget: int) -> None:
    together = shorten_all(some, budget, lambda asked: [uneven(note) for note in asked])
    assert together == [shorten(split(note), budget, uneven) for note in some]


@given(sections, budgets)
def test_nearly_all_of_the_budget_is_used(content: dict[Header, str], budget: int) -> None:
    note = render(content)
    shortened = shorten(split(note), budget, words)
    if shortened.removed:
        assert words(shortened.note) >= budget - 5, (
            "what is left out may be a header, of up to four words, and the word after it"
        )


def test_complaint_and_present_illness_come_last() -> None:
    assert ORDER[-2:] == (Header.PRESENT_ILLNESS, Header.CHIEF_COMPLAINT)
    assert set(ORDER) == set(ADMISSION)
    last = NOTE[: NOTE.index("\nPast Medical History")]
    assert cut(words(last)).note == last


def test_medications_go_first_from_their_end() -> None:
    assert cut(words(NOTE) - 1, NOTE).note == NOTE.replace("2. aspirin daily", "2. aspirin")
    assert cut(words(NOTE) - 1, NOTE).removed == {"Medications on Admission": len(" daily")}


def test_a_section_without_a_word_left_goes_with_its_header() -> None:
    assert "Medications" not in cut(words(NOTE) - 6).note


def test_present_illness_is_cut_from_its_end_where_nothing_else_is_left() -> None:
    assert cut(12).note == "Chief Complaint: cough for ten days\nHistory of Present Illness: He came"


def test_a_line_of_the_text_that_looks_like_a_header_opens_no_section() -> None:
    names = [section.name for section in split(NOTE)]
    assert names == [kind.value for kind in ADMISSION if kind not in (Header.ALLERGIES, Header.FAMILY_HISTORY)]
    assert "said the clinic" in split(NOTE)[1].text


def test_a_note_without_sections_is_cut_from_its_end_at_a_word() -> None:
    assert cut(3, "One two three four five") == Shortened("One two three", {"note": len(" four five")})


def test_text_without_spaces_is_cut_too() -> None:
    note = "咳" * 1000
    assert 0 < len(shorten(split(note), 300, len).note) <= 300


def test_text_before_the_first_header_is_cut_last() -> None:
    note = "Seen at night.\nSocial History: smokes"
    assert cut(3, note).note == "Seen at night."


def test_even_an_empty_note_may_be_too_long() -> None:
    with pytest.raises(ValueError, match="even an empty note"):
        shorten([Section(WHOLE, "text")], 2, lambda note: 3 + len(note))


def test_a_note_is_counted_few_times() -> None:
    asked: list[str] = []

    def count(note: str) -> int:
        asked.append(note)
        return uneven(note)

    note = render(dict.fromkeys(ADMISSION, "some words of a long section, and numbers 12.5 " * 80))
    shorten(split(note), 2048, count)
    assert len(asked) <= 16


def test_a_thousand_headers_are_split_in_no_time() -> None:
    assert len(split("Allergies: none\nSocial History: none\n" * 20_000)) == 2
