"""ICD-10-CM of fiscal years 2016 to 2026: all 75,719 codes that were ever billable, their years, and the tree above them.

Functions take codes in their stored form: upper case, without the dot (see `normalise`).

    >>> from deepicd import icd10
    >>> icd10.description("M5116"), icd10.chapter("M5116"), icd10.block("M5116"), icd10.ancestors("M5116")
    ('Intervertebral disc disorders with radiculopathy, lumbar region', 13, 'M50-M54', ('M511', 'M51'))
    >>> icd10.normalise(" m51.16 "), icd10.search("lumbar disc radicul")
    ('M5116', ['M5116'])
"""

from deepicd.icd10.lookup import (
    ancestors,
    billable_codes,
    block,
    block_title,
    category,
    chapter,
    chapter_title,
    children,
    description,
    display,
    era,
    is_billable,
    is_of_other_years,
    is_valid,
    normalise,
)
from deepicd.icd10.table import FIRST_YEAR, LAST_YEAR, Era
from deepicd.icd10.titles import nearest_codes, search

RELEASES = f"ICD-10-CM FY{FIRST_YEAR} to FY{LAST_YEAR}"
"""The table's name in messages."""

__all__ = [
    "FIRST_YEAR",
    "LAST_YEAR",
    "RELEASES",
    "Era",
    "ancestors",
    "billable_codes",
    "block",
    "block_title",
    "category",
    "chapter",
    "chapter_title",
    "children",
    "description",
    "display",
    "era",
    "is_billable",
    "is_of_other_years",
    "is_valid",
    "nearest_codes",
    "normalise",
    "search",
]
