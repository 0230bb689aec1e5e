"""Watches the judge: how far it agrees with the other terms, and whether it rises while the outcome does not. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepicd.rewards.judge.rollout import Scored
from deepicd.rewards.judge.second import SecondSums
from deepicd.spec.judge import TERM
from deepicd.spec.progress import JudgeTrend

OUTCOME = "outcome"
RISE = 0.05
"""A rise of the judge's mean that counts."""
SHARE = 4
"""The first and the last quarter of the steps are compared."""
FEWEST_STEPS = 8


@dataclass
class Sums:
    """Sums over the completions whose verdict and other term are both known."""

    count: int = 0
    x: float = 0.0
    y: float = 0.0
    xx: float = 0.0
    yy: float = 0.0
    xy: float = 0.0

    def add(self, x: float, y: float) -> None:
        """Add a pair of the judge's value and another term's."""
        self.count, self.x, self.y = self.count + 1, self.x + x, self.y + y
        self.xx, self.yy, self.xy = self.xx + x * x, self.yy + y * y, self.xy + x * y

    def merge(self, other: Mapping[str, Any]) -> None:
        """Add the sums of other completions."""
        for name, value in other.items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def correlation(self) -> float:
        """Pearson's; NaN if one of the two does not vary."""
        if self.count == 0:
            return math.nan
        spread = (self.xx - self.x**2 / self.count) * (self.yy - self.y**2 / self.count)
        return math.nan if spread <= 1e-12 * self.count else (self.xy - self.x * self.y / self.count) / math.sqrt(spread)


@dataclass
class StepSums:
    """What is kept about the judged completions of one step."""

    completions: int = 0
    missing: int = 0
    right: int = 0
    terms: dict[str, Sums] = field(default_factory=dict)
    """By the other term's name."""
    second: SecondSums | None = None
    """Of a second judge; None without one."""

    def add(self, scored: Scored, names: Sequence[str]) -> None:
        """Add a completion; `names`: of the rubric's criteria."""
        terms, right = scored.score.terms, scored.right
        value = terms[TERM]
        self.completions, self.right = self.completions + 1, self.right + right
        self.missing += math.isnan(value)
        for name, other in {**terms, OUTCOME: float(right)}.items():
            if not name.startswith(TERM) and not math.isnan(value) and not math.isnan(other):
                self.terms.setdefault(name, Sums()).add(value, other)
        if scored.second is not None:
            self.second = self.second or SecondSums()
            self.second.add(names, scored.verdict, scored.second)

    def merge(self, row: Mapping[str, Any]) -> None:
        """Add another part of the step, as `to_json` writes it."""
        for name in ("completions", "missing", "right"):
            setattr(self, name, getattr(self, name) + row[name])
        for name, sums in row["terms"].items():
            self.terms.setdefault(name, Sums()).merge(sums)
        if (second := row.get("second")) is not None:
            self.second = self.second or SecondSums()
            self.second.merge(second)

    @property
    def judge(self) -> float:
        """Mean of the verdicts; NaN without any."""
        sums = self.terms.get(OUTCOME, Sums())
        return sums.x / sums.count if sums.count else math.nan

    @property
    def outcome(self) -> float:
        """Share of right completions."""
        return self.right / self.completions if self.completions else math.nan


def to_json(split: str, step: int, sums: StepSums) -> str:
    """A line of the stage's `metrics/judge.jsonl`: numbers, and names of terms and criteria."""
    terms = {name: vars(one) for name, one in sums.terms.items()}
    counts = {"completions": sums.completions, "missing": sums.missing, "right": sums.right}
    second = {} if sums.second is None else {"second": sums.second.to_dict()}
    return json.dumps({"split": split, "step": step, **counts, "terms": terms, **second})


def read(lines: Iterable[str], split: str = "train") -> dict[int, StepSums]:
    """The sums of each step of a split, in order. Lines that are torn are skipped."""
    found: dict[int, StepSums] = {}
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row["split"] == split:
            found.setdefault(row["step"], StepSums()).merge(row)
    return dict(sorted(found.items()))


def read_file(path: Path, split: str = "train") -> dict[int, StepSums]:
    """The sums of each step of a split, from the stage's log; none without the file."""
    return read(path.read_text(encoding="utf-8").splitlines(), split) if path.exists() else {}


def agreement(steps: Iterable[StepSums]) -> dict[str, float]:
    """Correlation of the judge with each other term, over all completions; NaN where one does not vary."""
    terms: dict[str, Sums] = {}
    for step in steps:
        for name, sums in step.terms.items():
            terms.setdefault(name, Sums()).merge(vars(sums))
    return {name: sums.correlation for name, sums in terms.items()}


def trend(steps: Sequence[StepSums]) -> JudgeTrend | None:
    """How judge and outcome have moved from the first to the last quarter of the steps; None before there are `FEWEST_STEPS`,
    or where one of the quarters has no verdict.
    """
    if len(steps) < FEWEST_STEPS:
        return None
    part = len(steps) // SHARE
    (judge_from, right_from), (judge_to, right_to) = (
        (_mean([step.judge for step in some]), _mean([step.outcome for step in some])) for some in (steps[:part], steps[-part:])
    )
    if any(map(math.isnan, (judge_from, right_from, judge_to, right_to))):
        return None
    diverged = judge_to - judge_from > RISE and right_to <= right_from
    return JudgeTrend(judge_from=judge_from, judge_to=judge_to, right_from=right_from, right_to=right_to, diverged=diverged)


def alarm(steps: Sequence[StepSums]) -> str | None:
    """What was found if the judge's mean rose by more than `RISE` and the outcome did not rise; else None."""
    found = trend(steps)
    return str(found) if found is not None and found.diverged else None


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan
