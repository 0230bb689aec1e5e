"""What a second judge of another model says about the same completions, and how far the two agree. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepicd.rewards.judge.agreement import Kappa, Pairs


@dataclass(frozen=True, slots=True)
class Opinion:
    """What the second judge says about one completion."""

    value: float
    """Value of its verdict in [0, 1], 0 for a completion without reasoning; NaN if it is missing."""
    verdict: tuple[bool, ...] | None
    """Its answers, in the order of the rubric; None if there is no verdict."""


@dataclass
class SecondSums:
    """Sums of a second judge's verdicts about the completions of one step, or of several."""

    values: int = 0
    """Completions with a value."""
    missing: int = 0
    total: float = 0.0
    """Sum of the values."""
    criteria: dict[str, Pairs] = field(default_factory=dict)
    """The two judges' answers to each criterion, where both gave a verdict."""

    def add(self, names: Sequence[str], first: tuple[bool, ...] | None, second: Opinion) -> None:
        """Add a completion; `names`: of the criteria, `first`: the first judge's verdict about it."""
        if math.isnan(second.value):
            self.missing += 1
        else:
            self.values, self.total = self.values + 1, self.total + second.value
        if first is None or second.verdict is None:
            return
        for name, one, other in zip(names, first, second.verdict, strict=True):
            self.criteria.setdefault(name, Pairs()).add(one, other)

    def merge(self, row: Mapping[str, Any]) -> None:
        """Add the sums of other completions, as `to_dict` has them."""
        self.values, self.missing = self.values + row["values"], self.missing + row["missing"]
        self.total += row["total"]
        for name, counts in row["criteria"].items():
            self.criteria[name] = self.criteria.get(name, Pairs()) + Pairs(*counts)

    def to_dict(self) -> dict[str, Any]:
        """Numbers, and names of criteria; of each the counts of `Pairs`."""
        counts = {name: [one.both, one.first, one.second, one.neither] for name, one in self.criteria.items()}
        return {"values": self.values, "missing": self.missing, "total": self.total, "criteria": counts}

    @property
    def mean(self) -> float:
        """Mean of the values; NaN without any."""
        return self.total / self.values if self.values else math.nan

    @property
    def agreement(self) -> Kappa:
        """How far the two judges agree over all answers."""
        return sum(self.criteria.values(), Pairs()).kappa
