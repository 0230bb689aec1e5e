"""Look-ups in the code table. Codes are in upper case and without the dot; years are fiscal years.

A code can be right if it `is_billable`: it was billable in some release (`completion.fault_of` adds a hospital's own codes).
`is_valid` only means that the table has a title and a place in the tree for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from functools import cache

from deepicd.icd10.table import FIRST_YEAR, LAST_YEAR, Era, table

_CATEGORY_LENGTH = 3
_AFTER_ANY_CODE_CHARACTER = "~"


def normalise(text: str) -> str:
    """Turn a code as people write it (` m51.16 `) into its stored form (`M5116`)."""
    return text.replace(".", "").strip().upper()


def display(code: str) -> str:
    """The code with its dot: `M51.16`."""
    return f"{code[:_CATEGORY_LENGTH]}.{code[_CATEGORY_LENGTH:]}" if len(code) > _CATEGORY_LENGTH else code


def is_valid(code: str) -> bool:
    """Whether any release has this category, subcategory or full code."""
    return code in table().rows


def is_billable(code: str) -> bool:
    """Whether the code was billable in any release, old or new."""
    data = table()
    row = data.rows.get(code)
    return row is not None and bool(data.eras[data.era_of[row]].billable)


def era(code: str) -> Era:
    """The fiscal years in which the code was billable and those in which it was a header.

    Raises:
        KeyError: no release has the code.
    """
    data = table()
    return data.eras[data.era_of[data.rows[code]]]


def is_of_other_years(code: str, years: range) -> bool | None:
    """Whether the code was billable, but in none of these fiscal years; None if the table covers none of them.

    Args:
        code: need not exist; if it was never billable, the result is not True.
        years: consecutive fiscal years, such as those an admission can be in.
    """
    known = range(max(years.start, FIRST_YEAR), min(years.stop, LAST_YEAR + 1))
    if not known:
        return None
    if not is_billable(code):
        return False
    billable = era(code).billable
    return max(known.start, billable.start) >= min(known.stop, billable.stop)


def description(code: str) -> str:
    """CMS's long title in the newest release that has the code.

    Raises:
        KeyError: no release has the code.
    """
    data = table()
    return data.title(data.rows[code])


def category(code: str) -> str:
    """The first three characters."""
    return code[:_CATEGORY_LENGTH]


def block(code: str) -> str:
    """The innermost block of the code's category, such as `M50-M54`.

    Raises:
        KeyError: the table has no such category.
    """
    return table().category_blocks[category(code)]


def chapter(code: str) -> int:
    """The chapter, 1 to 22, by the official table (D is in 2 and 3, H in 7 and 8). Only the category has to exist.

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


def block_title(name: str) -> str:
    """The official title of a block.

    Raises:
        KeyError: the table has no such block.
    """
    return table().block_titles[name]


def ancestors(code: str) -> tuple[str, ...]:
    """The existing codes above this one, nearest first, up to the category. The code itself need not exist.

    Placeholders that are not a level of the table are skipped: `W378XXS` has `W378` and `W37`.
    """
    rows = table().rows
    lengths = range(len(code) - 1, _CATEGORY_LENGTH - 1, -1)
    return tuple(code[:length] for length in lengths if code[:length] in rows)


def children(code: str) -> tuple[str, ...]:
    """The codes directly below, of all years, sorted; empty for a leaf.

    Raises:
        KeyError: no release has the code.
    """
    data = table()
    row = data.rows[code] + 1
    found = []
    while row < len(data.codes) and data.codes[row].startswith(code):
        found.append(data.codes[row])
        row = bisect_left(data.codes, data.codes[row] + _AFTER_ANY_CODE_CHARACTER, lo=row)
    return tuple(found)


@cache
def billable_codes(year: int | None = None) -> Sequence[str]:
    """The codes billable in a fiscal year, sorted; without a year, all 75,719 codes that were ever billable."""
    data = table()
    within = [bool(one.billable) if year is None else year in one.billable for one in data.eras]
    return tuple(code for code, number in zip(data.codes, data.era_of, strict=True) if within[number])
