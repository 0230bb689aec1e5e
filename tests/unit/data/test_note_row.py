"""What the columns of a note may hold."""

from __future__ import annotations

import pytest

from deepicd.data.note_row import Row
from deepicd.errors import UserError

TEXT = "Came in with chest pain.\nNo fever."


def row(**values: object) -> Row:
    return Row.of("notes.csv: row 2", values)


@pytest.mark.parametrize("value", ["1", "A-7_b.2", 12, 12.0])
def test_an_id_is_letters_digits_and_three_signs(value: object) -> None:
    assert row(id=value).named("id") == str(value).removesuffix(".0")


@pytest.mark.parametrize("value", [TEXT, "a b", "ä", "x" * 65, "a/b"])
def test_another_id_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(UserError, match=r"notes\.csv: row 2: column id has characters other") as caught:
        row(id=value).named("id")
    assert value not in str(caught.value)


@pytest.mark.parametrize("value", [None, "", "  ", float("nan")])
def test_a_missing_id_is_refused(value: object) -> None:
    with pytest.raises(UserError, match="column patient_id is empty"):
        row(patient_id=value).named("patient_id")


def test_a_label_is_one_line_of_64_characters() -> None:
    assert row(race="HISPANIC/LATINO - CUBAN ").label("race") == "HISPANIC/LATINO - CUBAN"
    assert row().label("race") is None
    for value in (TEXT, "x" * 65):
        with pytest.raises(UserError, match="column race is longer than a line") as caught:
            row(race=value).label("race")
        assert value not in str(caught.value)


@pytest.mark.parametrize(("value", "age"), [("63", 63), ("63.0", 63), (63, 63), (63.0, 63), ("", None), (None, None)])
def test_an_age_is_a_whole_number_or_missing(value: object, age: int | None) -> None:
    assert row(age=value).whole_number("age") == age


@pytest.mark.parametrize("value", ["63.5", "old", "-1", "1000", TEXT])
def test_another_age_is_refused_without_showing_it(value: str) -> None:
    with pytest.raises(UserError, match="column age is not a whole number") as caught:
        row(age=value).whole_number("age")
    assert value not in str(caught.value)
