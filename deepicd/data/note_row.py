"""One note of a file, and the values that its columns may have.

All columns but the note are checked, so that a wrongly mapped column cannot put a note's text into ids, codes or labels. No
error shows a value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deepicd.errors import UserError
from deepicd.json_lines import ROUNDED, is_rounded

TEXT_ONLY = frozenset({"note", "code", "split"})
"""Columns whose values must be text: a code read as a number would be a different code."""
_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_LABEL = re.compile(r"[^\r\n]{1,64}")


@dataclass(frozen=True, slots=True)
class Row:
    """One note. `where`: file and row, for errors. `values`: text or None, by those NOTE_COLUMNS that the file has."""

    where: str
    values: Mapping[str, str | None]

    @classmethod
    def of(cls, where: str, values: Mapping[str, Any]) -> Row:
        """The row for a file's values of any type.

        Raises:
            UserError: a value is not text and may not be converted to text.
        """
        return cls(where, {name: _as_text(where, name, value) for name, value in values.items()})

    def __getitem__(self, name: str) -> str | None:
        return self.values.get(name)

    def named(self, name: str) -> str:
        """An id: letters, digits, `_`, `.` and `-`.

        Raises:
            UserError: it is missing or not an id.
        """
        value = self[name]
        if value is None:
            raise UserError(f"{self.where}: column {name} is empty: give every note its {name}")
        if is_rounded(value):
            raise UserError(f"{self.where}: column {name} {ROUNDED}")
        if not _ID.fullmatch(value):
            raise UserError(
                f"{self.where}: column {name} has characters other than letters, digits, '_', '.', '-', or more than 64: "
                "write shorter ids, or map another column"
            )
        return value

    def label(self, name: str) -> str | None:
        """A short text of one line, or None.

        Raises:
            UserError: it has several lines, or more than 64 characters.
        """
        value = self[name]
        if value is not None and not _LABEL.fullmatch(value):
            raise UserError(f"{self.where}: column {name} is longer than a line of 64 characters: map another column")
        return value

    def whole_number(self, name: str) -> int | None:
        """A whole number from 0 to 999, or None; `63.0` is valid.

        Raises:
            UserError: it is not such a number.
        """
        value = self[name]
        if value is None:
            return None
        if not re.fullmatch(r"[0-9]{1,3}(?:\.0*)?", value):
            raise UserError(f"{self.where}: column {name} is not a whole number: write years, or leave it empty")
        return int(value.split(".")[0])


def _as_text(where: str, name: str, value: Any) -> str | None:
    """A value as text, stripped unless it is a note; None if it is empty. Whole numbers get no decimal point."""
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return None
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            raise UserError(
                f"{where}: column {name} has half a character (\\ud800 to \\udfff): write it again as UTF-8"
            ) from None
        return (value if name == "note" else value.strip()) if value.strip() else None
    if name in TEXT_ONLY or isinstance(value, bool) or not isinstance(value, int | float):
        raise UserError(f"{where}: column {name} is not text: write it as text")
    return str(int(value)) if isinstance(value, int) or value.is_integer() else repr(value)
