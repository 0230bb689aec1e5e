"""The official ICD-10-CM table (April 2026 release): 74,719 billable codes and the tree above them.

Every function takes codes as they are stored: upper case, without the dot (see `normalise`).

    >>> from deepicd import icd10
    >>> icd10.description("M5116"), icd10.chapter("M5116"), icd10.block("M5116"), icd10.ancestors("M5116")
    ('Intervertebral disc disorders with radiculopathy, lumbar region', 13, 'M50-M54', ('M511', 'M51'))
"""

from deepicd.icd10.lookup import (
    ancestors,
    billable_codes,
    block,
    category,
    chapter,
    chapter_title,
    children,
    description,
    display,
    is_billable,
    is_valid,
    normalise,
)

__all__ = [
    "ancestors",
    "billable_codes",
    "block",
    "category",
    "chapter",
    "chapter_title",
    "children",
    "description",
    "display",
    "is_billable",
    "is_valid",
    "normalise",
]
