"""The term `outcome`."""

from __future__ import annotations


def outcome(code: str | None, gold: str) -> float:
    """1 if the answer is the gold code, else 0.

    Args:
        code: the answer, normalised; None without an answer.
        gold: the right code, normalised.
    """
    return float(code == gold)
