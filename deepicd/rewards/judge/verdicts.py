"""Verdicts as values of the term `judge`, over the groups of completions of a prompt. Pure."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from deepicd.rewards.sample import Score
from deepicd.spec.judge import TERM

MISSING = f"{TERM}_missing"
"""Term without a weight: 1 if the completion's verdict is missing, else 0."""


@dataclass(frozen=True, slots=True)
class Judged:
    """One completion with its verdict."""

    group: Hashable
    """Its prompt."""
    right: bool
    """Whether its code is the gold code."""
    value: float
    """Value of the verdict in [0, 1]; NaN if it is missing."""


def mean(values: Sequence[float]) -> float:
    """The mean of the values that are not missing; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def counted(judged: Sequence[Judged], *, only_where_outcome_varies: bool, otherwise: float = math.nan) -> list[float]:
    """The value that counts for each completion.

    A missing verdict counts as the mean of its group, so that neither failing nor abstaining pays.

    Args:
        judged: completions of whole groups.
        only_where_outcome_varies: in a group that is all right or all wrong every value counts as the group's mean.
        otherwise: counts for a group without any verdict.
    """
    groups: dict[Hashable, list[Judged]] = {}
    for one in judged:
        groups.setdefault(one.group, []).append(one)
    means = {group: mean([one.value for one in members]) for group, members in groups.items()}
    level = {
        group for group, members in groups.items() if only_where_outcome_varies and len({one.right for one in members}) == 1
    }
    found = (means[one.group] if one.group in level or math.isnan(one.value) else one.value for one in judged)
    return [otherwise if math.isnan(value) else value for value in found]


def with_judge(score: Score, value: float, counts_as: float, weight: float) -> Score:
    """The score with the judge's term.

    Args:
        score: by all other terms.
        value: of the verdict; NaN if it is missing.
        counts_as: see `counted`; NaN adds nothing.
        weight: of the term.
    """
    terms: Mapping[str, float] = {**score.terms, TERM: value, MISSING: float(math.isnan(value))}
    return Score(score.value + (0.0 if math.isnan(counts_as) else weight * counts_as), dict(terms))
