"""JSON lines that people write: fields given twice or named almost like ours, and ids that a spreadsheet has rounded."""

from __future__ import annotations

import difflib
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from deepicd.errors import UserError

_SCIENTIFIC = re.compile(r"[0-9](\.[0-9]+)?[eE]\+[0-9]{1,3}|[0-9]\.[0-9]+[eE][0-9]{1,3}")
ROUNDED = (
    "is in scientific notation, as spreadsheets round long numbers: make the column text in the spreadsheet, and export it "
    "from the original again"
)
"""What a message says of such an id, after the name of its field."""
_ALIKE = 0.8
"""Least likeness of two names: `notes` is like `note`, `note_type` is not."""
_LONGEST_NAME = 40
"""Characters of a name that a message shows."""


def read_object(line: bytes | str, where: str, required: str) -> dict[str, Any]:
    """The JSON object of one line.

    Args:
        line: in UTF-8.
        where: how a message begins.
        required: what the message asks for, such as `give an object with id and note`.

    Raises:
        UserError: it is not an object, or has a key twice, of which readers of JSON drop one in silence.
    """
    try:
        found = json.loads(line, object_pairs_hook=_object)
    except (ValueError, RecursionError):  # a UnicodeDecodeError is a ValueError
        raise UserError(f"{where}: is not JSON in UTF-8: {required}") from None
    if not isinstance(found, dict):
        raise UserError(f"{where}: is not a JSON object: {required}")
    if isinstance(found, _Doubled):
        raise UserError(f"{where}: '{found.name[:_LONGEST_NAME]}' is given twice: keep one of them")
    return found


class _Doubled(dict[str, Any]):
    """An object with a key that is given twice."""

    name: str


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    doubled = _Doubled(found)
    doubled.name = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
    return doubled


def is_rounded(value: object) -> bool:
    """Whether an id was written in scientific notation, such as `2.27E+07`."""
    return isinstance(value, str) and _SCIENTIFIC.fullmatch(value.strip()) is not None


def check_names(fields: Iterable[str], known: Collection[str], where: str, *, alike: float = _ALIKE) -> None:
    """Refuse a field that is almost named like a known one that is missing, such as `Note`. Others are ignored.

    Args:
        fields: names that are given.
        known: names that have a meaning.
        where: how the message begins.
        alike: least likeness, from 0 to 1; with 1 names differ only in case and punctuation.

    Raises:
        UserError: there is such a field.
    """
    given = list(fields)
    missing = {_plain(name): name for name in known if name not in given}
    for name in given:
        if name not in known and (near := difflib.get_close_matches(_plain(name), missing, n=1, cutoff=alike)):
            raise UserError(f"{where}: unknown field '{name[:_LONGEST_NAME]}': did you mean '{missing[near[0]]}'?")


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
