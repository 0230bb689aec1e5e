"""Makes the function that scores batches from run.yaml's `reward`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from deepicd import icd10
from deepicd.completion import Completion, Fault, fault_of, parse
from deepicd.errors import UserError
from deepicd.rewards.cohort_words import CohortWords
from deepicd.rewards.deepicd_r1 import deepicd_r1
from deepicd.rewards.own_terms import OwnTerms
from deepicd.rewards.rarity import SHIPPED, Rarity
from deepicd.rewards.reasoning import Claim, reasoning
from deepicd.rewards.sample import Sample, Score, Scorer
from deepicd.rewards.strict import strict
from deepicd.rewards.terms import combine, format_term, hierarchy, outcome
from deepicd.spec.reward import PRESETS, RewardSpec


def make_scorer(reward: RewardSpec, *, opened_think: bool, cohort: CohortWords | None = None) -> Scorer:
    """The scorer of a reward. Its only state is the code table. Exceptions of the terms are passed on.

    Args:
        reward: preset, weights, and the run's own terms.
        opened_think: whether the prompt ended in an opened `<think>`.
        cohort: words of the run's training notes; by default English, with the shipped list of common words.

    Returns:
        A function from samples to scores. It raises UserError if a gold code cannot be a right answer (`check_gold`), or if one
        of the run's own terms does not return numbers.

    Raises:
        UserError: one of the run's own terms cannot be imported.
    """
    own_terms = OwnTerms(reward.terms or {})
    own_weights = {name: reward.weights[name] for name in reward.terms or {}}
    score_preset = _preset(reward, opened_think, cohort)

    def score(samples: Sequence[Sample]) -> list[Score]:
        golds = [check_gold(sample.gold, local=sample.local_gold) for sample in samples]
        scores = score_preset(samples, golds)
        if not own_weights:
            return scores
        own = [combine(terms, own_weights) for terms in own_terms(samples, golds)]
        return [
            Score(of_preset.value + more.value, of_preset.terms | more.terms)
            for of_preset, more in zip(scores, own, strict=True)
        ]

    return score


def _preset(
    reward: RewardSpec, opened_think: bool, cohort: CohortWords | None
) -> Callable[[Sequence[Sample], Sequence[str]], list[Score]]:
    """A function that scores samples against their right codes, without the run's own terms."""
    preset = PRESETS[reward.preset]
    if reward.preset == "deepicd-r1":
        return lambda samples, golds: [
            deepicd_r1(sample.completion, gold, opened_think=opened_think) for sample, gold in zip(samples, golds, strict=True)
        ]

    def score(samples: Sequence[Sample], golds: Sequence[str]) -> list[Score]:
        parsed = [
            parse(
                sample.completion,
                opened_think=opened_think,
                truncated=sample.truncated,
                local=(gold,) if sample.local_gold else (),
            )
            for sample, gold in zip(samples, golds, strict=True)
        ]
        if reward.preset == "strict":
            terms = [strict(completion, gold) for completion, gold in zip(parsed, golds, strict=True)]
        else:
            terms = _deepicd_terms(samples, parsed, golds, rarity)
        return [combine(one, weights) for one in terms]

    rarity = SHIPPED if cohort is None else cohort.rarity if cohort.is_english else None
    weights = {name: reward.weights.get(name, weight) for name, weight in preset.weights.items()}
    return score


def check_gold(gold: str, *, local: bool = False) -> str:
    """The gold code, normalised.

    Args:
        gold: as written.
        local: whether it may also be one of the hospital's own codes, which no release has.

    Raises:
        UserError: it cannot be a right answer. The message does not quote it.
    """
    code = icd10.normalise(gold)
    fault = fault_of(code, local=local)
    if fault is Fault.NOT_BILLABLE:
        raise UserError(f"gold: is a header in every release of {icd10.RELEASES}: give the code that was billed")
    if fault is not None and local:
        raise UserError("gold: is not formatted like a code, such as M51.16: correct it")
    if fault is not None:
        raise UserError(f"gold: is not a code of {icd10.RELEASES}: correct it, or mark it as local_gold")
    return code


def _deepicd_terms(
    samples: Sequence[Sample], parsed: Sequence[Completion], golds: Sequence[str], rarity: Rarity | None
) -> list[dict[str, float]]:
    """`rarity`: None if the notes are not in English; then the reasoning is not scored."""
    claims = [
        Claim(
            completion.trace,
            sample.note,
            completion.code,
            icd10.description(completion.code) if completion.code and icd10.is_valid(completion.code) else None,
        )
        for sample, completion in zip(samples, parsed, strict=True)
    ]
    grounds = [math.nan] * len(claims) if rarity is None else [found.value for found in reasoning(claims, rarity)]
    return [
        {
            "outcome": outcome(completion.code, gold),
            "format": format_term(completion),
            "hierarchy": hierarchy(completion.code, gold),
            "reasoning": value,
        }
        for completion, gold, value in zip(parsed, golds, grounds, strict=True)
    ]
