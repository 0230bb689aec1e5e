"""The term `hierarchy`."""

from __future__ import annotations

from functools import lru_cache

from deepicd import icd10


@lru_cache(maxsize=65_536)
def hierarchy(code: str | None, gold: str) -> float:
    """The share of the gold code's own levels that the answer gets right.

        levels(gold) = its chapter, its category, and each longer prefix of it that the table has, up to itself
        hierarchy    = |levels(gold) ∩ levels(answer)| / |levels(gold)|, without the last level unless answer = gold

    * Levels are those of the official tree: M51.16 has 4 (chapter 13, M51, M51.1, M51.16). Placeholders up to the seventh
      character are not levels: W37.8XXS has 4 (chapter 20, W37, W37.8, W37.8XXS). T44.3X is a level: the table has it.
    * The gold code earns 1, whatever its length.
    * An answer that does not exist has the levels of its deepest existing ancestor, or none if its category does not
      exist. Added characters never help: M51.169 for M51.16 earns 3/4, as M51.1 does; the last level is the code itself.
    * The tree covers all releases, so a retired code keeps its siblings: T81.4XXA and T81.49XA share T81.4.
    * A gold code that no release has (a hospital's own) is one level below its deepest existing ancestor, if any.

    Args:
        code: the answer, normalised, whether or not it exists; None without an answer.
        gold: the right code, normalised.
    """
    gold_levels = _levels(gold) | {gold}
    if code is None:
        return 0.0
    if code == gold:
        return 1.0
    shared = len(gold_levels & _levels(code))
    return min(shared, len(gold_levels) - 1) / len(gold_levels)


def _levels(code: str) -> frozenset[str | int]:
    """The chapter's number and the codes from the category down to this code, as far as they exist."""
    path = icd10.ancestors(code) + ((code,) if icd10.is_valid(code) else ())
    return frozenset((icd10.chapter(code), *path)) if path else frozenset()
