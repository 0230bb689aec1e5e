"""Fields that are doubled or nearly ours, and ids that a spreadsheet has rounded."""

from __future__ import annotations

import pytest

from deepicd.errors import UserError
from deepicd.json_lines import check_names, is_rounded, read_object

KNOWN = ("id", "note", "gold", "subject_id", "local_gold")


@pytest.mark.parametrize("value", ["2.27E+07", "2.27e+07", "2E+07", "2.27E7", " 1.0E+10 "])
def test_scientific_notation_is_recognised(value: str) -> None:
    assert is_rounded(value)


@pytest.mark.parametrize("value", ["2E07", "22700001", "1e5", "a2.27E+07", "2.27", "", None, 2.27e7, 5])
def test_other_ids_are_not(value: object) -> None:
    assert not is_rounded(value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("Note", "note"), ("NOTE", "note"), ("notes", "note"), ("Subject ID", "subject_id"), ("subjectId", "subject_id"),
     ("local-gold", "local_gold")],
)  # fmt: skip
def test_a_field_that_is_nearly_a_missing_one_is_refused(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"^line 3: unknown field '{name}': did you mean '{meant}'\\?$"):
        check_names({"id": 1, name: "x"}, KNOWN, "line 3")


@pytest.mark.parametrize("fields", [{"id": 1, "note": "", "Note": ""}, {"note_type": 1}, {"model": 1, "text": 2}, {}])
def test_other_fields_are_ignored(fields: dict[str, object]) -> None:
    check_names(fields, KNOWN, "line 3")


def test_a_key_that_is_given_twice_is_named() -> None:
    with pytest.raises(UserError, match=r"^line 2: 'gold' is given twice: keep one of them$"):
        read_object(b'{"id": 1, "gold": "M5116", "gold": "E119"}', "line 2", "give an object")


@pytest.mark.parametrize("line", [b"[" * 100_000, b'"\xff"', b"", b"[1]", b"5", b'[{"a": 1, "a": 2}]'])
def test_what_is_no_object_is_refused_with_what_is_asked_for(line: bytes) -> None:
    with pytest.raises(UserError, match=r"^line 2: is not (JSON in UTF-8|a JSON object): give an object$"):
        read_object(line, "line 2", "give an object")
