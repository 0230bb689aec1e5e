"""From run.yaml's `reward` to a function that scores batches."""

from __future__ import annotations

from collections.abc import Sequence

from deepicd import icd10
from deepicd.completion import parse
from deepicd.errors import UserError
from deepicd.rewards.combine import combine
from deepicd.rewards.deepicd_r1 import deepicd_r1
from deepicd.rewards.format import format_term
from deepicd.rewards.hierarchy import hierarchy
from deepicd.rewards.outcome import outcome
from deepicd.rewards.reasoning import Claim, reasoning
from deepicd.rewards.sample import Sample, Score, Scorer
from deepicd.spec.reward import RewardSpec


def make_scorer(reward: RewardSpec, *, opened_think: bool) -> Scorer:
    """The scorer of a preset. It keeps no state but the code table, and raises what its terms raise.

    Args:
        reward: the preset and, for `deepicd`, its weights.
        opened_think: whether the prompt ended in an opened `<think>`; the preset `deepicd-r1` takes it for granted.

    Returns:
        A function from samples to scores, which raises UserError if a gold code is not in the table
        (`deepicd-r1`: if it is empty).
    """
    if reward.preset == "deepicd-r1":
        return _score_deepicd_r1
    weights = reward.weights.model_dump()

    def score(samples: Sequence[Sample]) -> list[Score]:
        return [combine(terms, weights) for terms in _terms(samples, opened_think=opened_think)]

    return score


def check_gold(gold: str, reward: RewardSpec) -> str:
    """The gold code, normalised.

    Raises:
        UserError: the preset cannot score it. The message does not quote it.
    """
    code = icd10.normalise(gold)
    if reward.preset == "deepicd-r1":
        if not code:
            raise UserError("gold: is empty: give the right code")
    elif not icd10.is_valid(code):
        raise UserError("gold: is no code of the ICD-10-CM table (April 2026): give a code of that release")
    return code


_DEEPICD = RewardSpec()
_DEEPICD_R1 = RewardSpec(preset="deepicd-r1")


def _score_deepicd_r1(samples: Sequence[Sample]) -> list[Score]:
    return [deepicd_r1(sample.completion, check_gold(sample.gold, _DEEPICD_R1)) for sample in samples]


def _terms(samples: Sequence[Sample], *, opened_think: bool) -> list[dict[str, float]]:
    golds = [check_gold(sample.gold, _DEEPICD) for sample in samples]
    parsed = [parse(sample.completion, opened_think=opened_think, truncated=sample.truncated) for sample in samples]
    claims = [
        Claim(
            completion.trace,
            sample.note,
            completion.code,
            icd10.description(completion.code) if completion.code and icd10.is_valid(completion.code) else None,
        )
        for sample, completion in zip(samples, parsed, strict=True)
    ]
    return [
        {
            "outcome": outcome(completion.code, gold),
            "format": format_term(completion),
            "hierarchy": hierarchy(completion.code, gold),
            "reasoning": grounds.value,
        }
        for completion, gold, grounds in zip(parsed, golds, reasoning(claims), strict=True)
    ]
