"""What the judge takes and returns."""

from __future__ import annotations

from dataclasses import dataclass

from deepicd.rewards.judge.second import Opinion
from deepicd.rewards.sample import Sample, Score


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion of a prompt, scored by the other terms."""

    sample: Sample
    score: Score


@dataclass(frozen=True, slots=True)
class Scored:
    """One completion, scored by all terms."""

    score: Score
    right: bool
    """Whether its code is the gold code."""
    verdict: tuple[bool, ...] | None = None
    """The judge's answers; None if the verdict is missing, or there was nothing to judge."""
    second: Opinion | None = None
    """What the second judge says; None without one."""
