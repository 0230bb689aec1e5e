"""The three levels at which a code is compared: chapter, category (first 3 characters), full code."""

from __future__ import annotations

from enum import StrEnum

from deepicd import icd10

NO_CHAPTER = 0
"""Stands for the chapter of a local code whose category no release has."""


class Level(StrEnum):
    """How much of a code has to be right."""

    CHAPTER = "chapter"
    CATEGORY = "category"
    CODE = "code"


def class_of(code: str, level: Level) -> str:
    """Class of a code at a level: `M5116` is `13`, `M51` or `M5116`.

    Chapters are written with two digits, so that classes sort in the order of the table.
    """
    if level is Level.CHAPTER:
        return f"{chapter_of(code):02d}"
    if level is Level.CATEGORY:
        return icd10.category(code)
    return code


def chapter_of(code: str) -> int:
    """The chapter of a code, NO_CHAPTER where no release has its category."""
    return icd10.chapter(code) if icd10.is_valid(icd10.category(code)) else NO_CHAPTER


def chapter_title(number: int) -> str:
    """The official title of a chapter, or what stands for NO_CHAPTER."""
    return "Local codes of no chapter" if number == NO_CHAPTER else icd10.chapter_title(number)
