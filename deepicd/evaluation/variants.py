"""The same admissions under another condition: constrained to codes of the table, half of the note hidden, a wrong diagnosis in
front of it. A model that has closed its mind follows the wrong diagnosis, or answers as before without half of the evidence.

The texts of these prompts exist only in the process that generates.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from deepicd import icd10

CONSTRAINED = "constrained"
"""Greedy answer where the diagnosis tag can hold only codes of the table."""
HALF = "half_note"
"""Greedy answer to the first half of the note."""
MISLED = "wrong_first"
"""Greedy answer to the note with a wrong diagnosis in front."""
PLANTED = "planted"
"""That wrong diagnosis."""
MOST_ADDED = 256
"""Upper limit of the tokens that the wrong diagnosis adds: a token is at least one byte."""
_LONGEST_TITLE = 200


def first_half(note: str) -> str:
    """The first half of a note by characters, cut after a whole word."""
    cut = note[: len(note) // 2]
    return cut.rpartition(" ")[0] or cut


def planted_codes(ids: Sequence[str], codes: Sequence[str], *, seed: int) -> list[str | None]:
    """A wrong diagnosis for each admission: the code of another admission, of another category.

    So a wrong diagnosis is as frequent as its code is, and the choice depends only on the ids, codes and seed.

    Args:
        ids: [N] of the admissions.
        codes: [N] their right codes.
        seed: of the choice.

    Returns:
        [N] codes with a title; None where no admission has one of another category.
    """
    titled = [code for code in codes if icd10.is_valid(code)]
    planted: list[str | None] = []
    for identity, code in zip(ids, codes, strict=True):
        start = int.from_bytes(sha256(f"{seed} planted {identity}".encode()).digest()[:8])
        others = (titled[(start + step) % len(titled)] for step in range(len(titled)))
        planted.append(next((other for other in others if icd10.category(other) != icd10.category(code)), None))
    return planted


def with_wrong_diagnosis(note: str, code: str) -> str:
    """The note after a line that states this diagnosis as the referring one."""
    return f"Referred with the diagnosis: {icd10.description(code)[:_LONGEST_TITLE]}.\n\n{note}"
