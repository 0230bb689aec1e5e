"""The three levels at which a code is compared: chapter, category (first 3 characters), full code."""

from __future__ import annotations

from enum import StrEnum

from deepicd import icd10

NO_CHAPTER = 0
"""Chapter of a local code whose category no release has."""


class Level(StrEnum):
    """The part of a code that must be right."""

    CHAPTER = "chapter"
    CATEGORY = "category"
    CODE = "code"


def class_of(code: str, level: Level) -> str:
    """The class of a code at a level: `13`, `M51` or `M5116` for `M5116`.

    Chapters have two digits, so that classes sort in the order of the table.
    """
    if level is Level.CHAPTER:
        return f"{chapter_of(code):02d}"
    if level is Level.CATEGORY:
        return icd10.category(code)
    return code


def chapter_of(code: str) -> int:
    """The chapter of a code; NO_CHAPTER if no release has its category."""
    return icd10.chapter(code) if icd10.is_valid(icd10.category(code)) else NO_CHAPTER


def chapter_title(number: int) -> str:
    """The official title of a chapter, or a title for NO_CHAPTER."""
    return "Local codes of no chapter" if number == NO_CHAPTER else icd10.chapter_title(number)
