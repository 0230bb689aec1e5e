"""From run.yaml's `reward` to a function that scores batches."""

from __future__ import annotations

from collections.abc import Sequence

from deepicd import icd10
from deepicd.completion import Completion, Fault, fault_of, parse
from deepicd.errors import UserError
from deepicd.rewards.combine import combine
from deepicd.rewards.deepicd_r1 import deepicd_r1
from deepicd.rewards.format import format_term
from deepicd.rewards.hierarchy import hierarchy
from deepicd.rewards.outcome import outcome
from deepicd.rewards.reasoning import Claim, reasoning
from deepicd.rewards.sample import Sample, Score, Scorer
from deepicd.rewards.strict import strict
from deepicd.spec.reward import PRESETS, RewardSpec


def make_scorer(reward: RewardSpec, *, opened_think: bool) -> Scorer:
    """The scorer of a preset. It keeps no state but the code table, and raises what its terms raise.

    Args:
        reward: the preset and, for `deepicd`, its weights.
        opened_think: whether the prompt ended in an opened `<think>`; the preset `deepicd-r1` takes it for granted.

    Returns:
        A function from samples to scores, which raises UserError if a gold code is no right answer (`check_gold`).
    """
    if reward.preset == "deepicd-r1":
        return _score_deepicd_r1
    preset = PRESETS[reward.preset]
    weights = reward.weights if preset.own_weights else preset.weights
    terms_of = {"deepicd": _deepicd_terms, "strict": _strict_terms}[reward.preset]

    def score(samples: Sequence[Sample]) -> list[Score]:
        golds = [check_gold(sample.gold, local=sample.local_gold) for sample in samples]
        parsed = [
            parse(
                sample.completion,
                opened_think=opened_think,
                truncated=sample.truncated,
                local=(gold,) if sample.local_gold else (),
            )
            for sample, gold in zip(samples, golds, strict=True)
        ]
        return [combine(terms, weights) for terms in terms_of(samples, parsed, golds)]

    return score


def check_gold(gold: str, *, local: bool = False) -> str:
    """The gold code, normalised.

    Args:
        gold: as it is written.
        local: whether it may also be a code that no release has: one of the hospital's own.

    Raises:
        UserError: it is no right answer. The message does not quote it.
    """
    code = icd10.normalise(gold)
    fault = fault_of(code, local=local)
    if fault is Fault.NOT_BILLABLE:
        raise UserError(f"gold: is a header in every release of {icd10.RELEASES}: give the code that was billed")
    if fault is not None and local:
        raise UserError("gold: is no code in form, such as M51.16: correct it")
    if fault is not None:
        raise UserError(f"gold: is no code of {icd10.RELEASES}: correct it, or mark it as local_gold")
    return code


def _score_deepicd_r1(samples: Sequence[Sample]) -> list[Score]:
    return [deepicd_r1(sample.completion, check_gold(sample.gold, local=sample.local_gold)) for sample in samples]


def _strict_terms(samples: Sequence[Sample], parsed: Sequence[Completion], golds: Sequence[str]) -> list[dict[str, float]]:
    return [strict(completion, gold) for completion, gold in zip(parsed, golds, strict=True)]


def _deepicd_terms(samples: Sequence[Sample], parsed: Sequence[Completion], golds: Sequence[str]) -> list[dict[str, float]]:
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
