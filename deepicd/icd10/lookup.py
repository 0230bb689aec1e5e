"""Look-ups in the code table. Codes are upper case and without the dot."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from deepicd.icd10.table import table

_CATEGORY_LENGTH = 3
_AFTER_ANY_CODE_CHARACTER = "~"


def normalise(text: str) -> str:
    """Bring a code as people write it (` m51.16 `) to the form it is stored in (`M5116`)."""
    return text.replace(".", "").strip().upper()


def display(code: str) -> str:
    """The code with its dot: `M51.16`."""
    return f"{code[:_CATEGORY_LENGTH]}.{code[_CATEGORY_LENGTH:]}" if len(code) > _CATEGORY_LENGTH else code


def is_valid(code: str) -> bool:
    """Whether the table has this category, subcategory or full code."""
    return code in table().rows


def is_billable(code: str) -> bool:
    """Whether the code is a leaf of the table: valid, and nothing more specific exists."""
    row = table().rows.get(code)
    return row is not None and _is_leaf(row)


def description(code: str) -> str:
    """The official description.

    Raises:
        KeyError: the table has no such code.
    """
    data = table()
    start = data.offsets[data.rows[code]]
    end = data.text.find(b"\n", start)
    line = data.text[start:] if end < 0 else data.text[start:end]
    return line.partition(b"\t")[0].decode()


def category(code: str) -> str:
    """The first three characters."""
    return code[:_CATEGORY_LENGTH]


def block(code: str) -> str:
    """The innermost block that holds the code's category, such as `M50-M54`.

    Raises:
        KeyError: the table has no such category.
    """
    return table().category_blocks[category(code)]


def chapter(code: str) -> int:
    """The chapter, 1 to 22, by the official table (D is in 2 and 3, H in 7 and 8), of any string whose category exists.

    Raises:
        KeyError: the table has no such category.
    """
    return table().block_chapters[block(code)]


def chapter_title(number: int) -> str:
    """The official title of a chapter.

    Raises:
        KeyError: the number is not 1 to 22.
    """
    return table().chapter_titles[number]


def ancestors(code: str) -> tuple[str, ...]:
    """The codes above this one, nearest first, up to the category; of a code that does not exist: those that do.

    Placeholders are skipped where they are no level of the table: `W378XXS` has `W378` and `W37`.
    """
    rows = table().rows
    lengths = range(len(code) - 1, _CATEGORY_LENGTH - 1, -1)
    return tuple(code[:length] for length in lengths if code[:length] in rows)


def children(code: str) -> tuple[str, ...]:
    """The codes directly below, sorted; empty for a billable code.

    Raises:
        KeyError: the table has no such code.
    """
    data = table()
    row = data.rows[code] + 1
    found = []
    while row < len(data.codes) and data.codes[row].startswith(code):
        found.append(data.codes[row])
        row = bisect_left(data.codes, data.codes[row] + _AFTER_ANY_CODE_CHARACTER, lo=row)
    return tuple(found)


@cache
def billable_codes() -> Sequence[str]:
    """All billable codes, sorted: 74,719."""
    return tuple(code for row, code in enumerate(table().codes) if _is_leaf(row))


def _is_leaf(row: int) -> bool:
    codes = table().codes
    return row + 1 == len(codes) or not codes[row + 1].startswith(codes[row])
