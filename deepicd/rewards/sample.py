"""What a scorer takes and returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion to score."""

    completion: str
    gold: str
    """The right code; space, dots and case do not matter."""
    note: str | None = None
    """The admission note of the prompt; without it the reasoning term is 0, for nothing shows the trace's grounds."""
    truncated: bool = False
    """Whether the generator stopped at its token limit."""
    local_gold: bool = False
    """Whether the gold code is one of the hospital's own, which no release has."""


@dataclass(frozen=True, slots=True)
class Score:
    """One completion's reward and what it is made of."""

    value: float
    terms: dict[str, float]
    """The value of each term, before weighting, NaN where it is missing; every score of a scorer has the same names."""


Scorer = Callable[[Sequence[Sample]], list[Score]]
