"""Agreement of the judge: with experts (Cohen's kappa), and with the other terms of the reward (correlation). Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def cohens_kappa(first: Sequence[bool], second: Sequence[bool]) -> Kappa:
    """Agreement beyond chance.

    Args:
        first: [N] answers of one rater.
        second: [N] answers of the other to the same questions.
    """
    count = len(first)
    if not count:
        return Kappa(0, math.nan, math.nan)
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    yes = sum(first) / count, sum(second) / count
    expected = yes[0] * yes[1] + (1 - yes[0]) * (1 - yes[1])
    return Kappa(count, agreed, math.nan if expected == 1 else (agreed - expected) / (1 - expected))


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
    return {name: cohens_kappa([a for a, _ in found], [b for _, b in found]) for name, found in pairs.items()}
