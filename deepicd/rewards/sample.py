"""What a scorer takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to score."""

    completion: str
    """The completion as the model returned it."""
    gold: str
    """The right code; space, dots and case do not matter."""
    note: str | None = None
    """The admission note of the prompt. Without it the term `reasoning` is 0: the trace cannot be compared with anything."""
    truncated: bool = False
    """Whether the generator stopped at its token limit."""
    local_gold: bool = False
    """Whether the gold code is one of the hospital's own, which no release has."""


@dataclass(frozen=True, slots=True)
class Score:
    """The reward of one completion, and its terms."""

    value: float
    """The total: the sum of weight · term."""
    terms: dict[str, float]
    """The value of each term before weighting, NaN if it is missing. All scores of a scorer have the same terms."""


Scorer = Callable[[Sequence[Sample]], list[Score]]
