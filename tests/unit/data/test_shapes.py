"""Summaries of awkward but real shapes, with every kind of line end."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from deepicd.data import sections
from tests.unit.data.summaries import expected, shapes, summary

LINE_ENDS: dict[str, Callable[[str], str]] = {
    "as printed": lambda text: text,
    "windows": lambda text: text.replace("\n", "\r\n"),
    "old mac": lambda text: text.replace("\n", "\r"),
    "trailing spaces": lambda text: text.replace("\n", "  \n"),
    "stripped": lambda text: "\n".join(line.rstrip() for line in text.split("\n")),
    "no blank lines": lambda text: "\n".join(line for line in text.split("\n") if line.strip()),
}
SHAPES = dict(shapes())


@pytest.mark.parametrize("change", LINE_ENDS.values(), ids=LINE_ENDS.keys())
@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_no_later_word_gets_in_and_none_of_the_admission_is_lost(text: str, change: Callable[[str], str]) -> None:
    kept, later = expected(text)
    note = sections.render(sections.extract(change(text)))
    assert {word for word in later if word in note} == set()
    assert {word for word in kept if word not in note} == set()


@pytest.mark.parametrize("ending", [" ", "", "  ", "\t"])
@pytest.mark.parametrize("text", SHAPES.values(), ids=SHAPES.keys())
def test_a_note_without_line_breaks_is_refused(text: str, ending: str) -> None:
    found = sections.parse(text.replace("\n", ending))
    assert found.unbroken
    assert found.sections == {}


def test_a_note_that_lost_its_line_breaks_from_the_exam_on_is_refused() -> None:
    before, exam, rest = summary().partition("Physical Exam:")
    assert sections.parse(before + exam + rest.replace("\n", " ")).unbroken


def test_long_lines_alone_are_no_reason_to_refuse_a_note() -> None:
    text = summary(present="History of Present Illness:\nKEPTpresent " + "a week of cough and more. " * 400)
    assert not sections.parse(text).unbroken
    assert "KEPTpresent" in sections.render(sections.extract(text))
