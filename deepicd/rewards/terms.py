"""The terms `outcome`, `format` and `hierarchy` of the preset `deepicd`, and the weighted sum of the terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from deepicd import icd10
from deepicd.completion import CODE_FAULTS, NOT_BARE, Completion, Fault
from deepicd.rewards.sample import Score

_SOMETHING_ELSE = frozenset({Fault.TEXT_OUTSIDE, Fault.DIAGNOSIS_IN_TRACE, Fault.TRUNCATED})


def outcome(code: str | None, gold: str) -> float:
    """1 if the answer is the gold code, else 0.

    Args:
        code: the answer, normalised; None without an answer.
        gold: the right code, normalised.
    """
    return float(code == gold)


def format_term(completion: Completion) -> float:
    """The share of the required form that a completion has; 0 without an answer that can be right.

        format = [it names one billable code] · ([it is written once and bare] + [there is a trace] + [nothing else]) / 3

    * "Bare": the tag has nothing but the code. A right code that is decorated still earns the other terms: less than a clean
      one, more than nonsense.
    * "Nothing else": no text outside the two parts, no diagnosis tag in the trace, and no stop at the token limit.
    * An invented code and a header earn nothing: the one would pay any letters and digits for their form, the other would
      make a category without its last digits pay as much as a wrong code in it. The metrics count both as no answer.
    """
    if completion.code is None or not CODE_FAULTS.isdisjoint(completion.faults):
        return 0.0
    bare = NOT_BARE.isdisjoint(completion.faults)
    has_trace = Fault.NO_TRACE not in completion.faults
    nothing_else = _SOMETHING_ELSE.isdisjoint(completion.faults)
    return (bare + has_trace + nothing_else) / 3


@lru_cache(maxsize=65_536)
def hierarchy(code: str | None, gold: str) -> float:
    """The share of the gold code's own levels that the answer gets right.

        levels(gold) = its chapter, its category, and each longer prefix of it that the table has, up to itself
        hierarchy    = |levels(gold) ∩ levels(answer)| / |levels(gold)|, without the last level unless answer = gold

    * Levels are those of the official tree: M51.16 has 4 (chapter 13, M51, M51.1, M51.16). Placeholders up to the seventh
      character are not levels: W37.8XXS has 4 (chapter 20, W37, W37.8, W37.8XXS). T44.3X is a level: the table has it.
    * The gold code earns 1, whatever its length.
    * An answer that does not exist has the levels of its deepest existing ancestor, or none if its category does not
      exist. Added characters never help: M51.169 for M51.16 earns 3/4, as M51.1 does; the last level is the code itself.
    * The tree covers all releases, so a retired code keeps its siblings: T81.4XXA and T81.49XA share T81.4.
    * A gold code that no release has (a hospital's own) is one level below its deepest existing ancestor, if any.

    Args:
        code: the answer, normalised, whether or not it exists; None without an answer.
        gold: the right code, normalised.
    """
    gold_levels = _levels(gold) | {gold}
    if code is None:
        return 0.0
    if code == gold:
        return 1.0
    shared = len(gold_levels & _levels(code))
    return min(shared, len(gold_levels) - 1) / len(gold_levels)


def _levels(code: str) -> frozenset[str | int]:
    """The chapter's number and the codes from the category down to this code, as far as they exist."""
    path = icd10.ancestors(code) + ((code,) if icd10.is_valid(code) else ())
    return frozenset((icd10.chapter(code), *path)) if path else frozenset()


def combine(terms: Mapping[str, float], weights: Mapping[str, float]) -> Score:
    """Returns the weighted sum: reward = Σ weight · term. A missing term (NaN) adds nothing.

    Raises:
        KeyError: a weight names no term.
    """
    weighed = [weight * terms[name] for name, weight in weights.items()]
    value = math.fsum(weighed)
    if math.isnan(value):
        value = math.fsum(term for term in weighed if not math.isnan(term))
    return Score(value, dict(terms))
