"""Agreement of two raters over yes-or-no answers: Cohen's kappa. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from deepicd.rewards.judge.rubric import Rubric


@dataclass(frozen=True, slots=True)
class Kappa:
    """Cohen's kappa of two raters over yes-or-no answers."""

    answers: int
    """Number of answers that both gave."""
    agreed: float
    """Share of equal answers; NaN without answers."""
    kappa: float
    """(agreed - expected) / (1 - expected); NaN if both gave one and the same answer throughout, or without answers."""


@dataclass(slots=True)
class Pairs:
    """Counts of the answers that two raters gave to the same questions."""

    both: int = 0
    """Both said yes."""
    first: int = 0
    """Only the first said yes."""
    second: int = 0
    """Only the second said yes."""
    neither: int = 0
    """Both said no."""

    def add(self, first: bool, second: bool) -> None:
        """Count one question."""
        if first:
            self.both, self.first = self.both + second, self.first + (not second)
        else:
            self.second, self.neither = self.second + second, self.neither + (not second)

    def __add__(self, other: Pairs) -> Pairs:
        return Pairs(self.both + other.both, self.first + other.first, self.second + other.second, self.neither + other.neither)

    @property
    def kappa(self) -> Kappa:
        """Agreement beyond chance."""
        count = self.both + self.first + self.second + self.neither
        if not count:
            return Kappa(0, math.nan, math.nan)
        agreed = (self.both + self.neither) / count
        yes = (self.both + self.first) / count, (self.both + self.second) / count
        expected = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
        return Kappa(count, agreed, math.nan if expected == 1 else (agreed - expected) / (1 - expected))


def cohens_kappa(answers: Iterable[tuple[bool, bool]]) -> Kappa:
    """Agreement beyond chance; `answers`: those of the two raters to each question."""
    pairs = Pairs()
    for first, second in answers:
        pairs.add(first, second)
    return pairs.kappa


def by_criterion(
    rubric: Rubric, judged: Mapping[str, Sequence[bool]], experts: Mapping[str, Mapping[str, bool]]
) -> dict[str, Kappa]:
    """Kappa of each criterion, and of all answers under `all`.

    Args:
        rubric: the criteria.
        judged: the judge's verdict of each completion, by its id, in the order of the criteria.
        experts: the experts' answers by id and criterion; an expert may leave criteria out.
    """
    pairs = {
        name: [
            (judged[identity][place], answers[name])
            for identity, answers in experts.items()
            if identity in judged and name in answers
        ]
        for place, name in enumerate(rubric.names)
    }
    pairs["all"] = [pair for name in rubric.names for pair in pairs[name]]
    return {name: cohens_kappa(found) for name, found in pairs.items()}
