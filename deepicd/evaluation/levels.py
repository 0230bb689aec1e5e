"""The three levels at which a code is compared: chapter, category (first 3 characters), full code."""

from __future__ import annotations

from enum import StrEnum

from deepicd import icd10


class Level(StrEnum):
    """How much of a code has to be right."""

    CHAPTER = "chapter"
    CATEGORY = "category"
    CODE = "code"


def class_of(code: str, level: Level) -> str:
    """Class of a valid code at a level: `M5116` is `13`, `M51` or `M5116`.

    Chapters are written with two digits, so that classes sort in the order of the table.

    Raises:
        KeyError: the code's category is not in the table.
    """
    if level is Level.CHAPTER:
        return f"{icd10.chapter(code):02d}"
    if level is Level.CATEGORY:
        return icd10.category(code)
    return code
