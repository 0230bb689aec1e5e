"""The term `reasoning`: the trace is grounded in the note, in words of its own, and leads to the answer.

    reasoning = grounded · own · fresh · concluded                     each in [0, 1]

    T          the trace's distinct content words: three letters or more, no generic word (generic_words.py),
               not the answer's name (its description's words, its code, its category)
    N          the note's words
    grounded   min(1, |T ∩ N| / max(5, |T| / 3)): five findings of the note, more in a longer trace. Naming the answer
               without grounds scores nothing; padding makes T grow and the share fall.
    own        min(1 - 2 q, |T - N| / (0.05 |T|)) within [0, 1]
               q = share of the trace's distinct four-word runs that the note has, less the 12 runs or the tenth of its
               runs, whichever is more, that it may quote freely. A trace that is the note scores nothing, and half the
               note little; so does one of the note's words in another order: one content word in 20 must be its own.
    fresh      distinct four-word runs / all four-word runs: repeating the trace n times divides it by n.
    concluded  1 if the trace names the answer's code or category,
               else min(1, share of the description's content words that it has / 0.5)

A product, so that no part can make up for another. Without a note neither `grounded` nor `own` can be measured, and the
term is 0: unproven grounds are not paid. It is 0 as well without a trace, and when the answer is not in the table.

It measures words, not thought: a list of findings that ends in the diagnosis is paid as prose is. The inference itself
is for a judge to weigh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deepicd.rewards import words
from deepicd.rewards.generic_words import GENERIC_WORDS

FEWEST_FINDINGS = 5
FINDINGS_SHARE = 1 / 3
RUNS_QUOTED_FREELY = 12
SHARE_QUOTED_FREELY = 0.1
QUOTATION_COST = 2
OWN_SHARE = 0.05
NAMED_SHARE = 0.5

_BATCH = 64  # arrays of this size stay in the processor's cache
_GENERIC = words.distinct(words.words([" ".join(sorted(GENERIC_WORDS))]).keys)
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Claim:
    """A trace and the answer that it should lead to."""

    trace: str | None
    note: str | None
    code: str | None
    """The answer, without its dot."""
    description: str | None
    """The answer's official description; None if it is not in the table."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The value and its four parts."""

    grounded: float = 0.0
    own: float = 0.0
    fresh: float = 0.0
    concluded: float = 0.0

    @property
    def value(self) -> float:
        """The product of the four."""
        return self.grounded * self.own * self.fresh * self.concluded


def reasoning(claims: Sequence[Claim]) -> list[Reasoning]:
    """Score a batch; traces that share a note cost that note once. Time: that of sorting the words."""
    scores = [Reasoning()] * len(claims)
    measurable = [
        index for index, claim in enumerate(claims) if None not in (claim.trace, claim.note, claim.code, claim.description)
    ]
    for start in range(0, len(measurable), _BATCH):
        batch = measurable[start : start + _BATCH]
        for index, score in zip(batch, _measure([claims[index] for index in batch]), strict=True):
            scores[index] = score
    return scores


def _measure(claims: Sequence[Claim]) -> list[Reasoning]:
    number = len(claims)
    note_numbers: dict[str, int] = {}
    note_of = np.array([note_numbers.setdefault(claim.note or "", len(note_numbers)) for claim in claims])
    note_words = words.words(list(note_numbers))
    trace_words = words.words([claim.trace or "" for claim in claims])
    vocabulary = words.distinct(trace_words.keys)
    trace_runs = words.runs(trace_words)

    description = _content(words.distinct(words.words([claim.description or "" for claim in claims]).keys))
    code = words.distinct(words.words([f"{claim.code} {(claim.code or '')[:3]}" for claim in claims]).keys)
    described = words.contains(vocabulary, description)
    named = words.contains(vocabulary, code)
    description_length = np.maximum(1, words.per_owner(description, number))
    share_described = words.per_owner(description, number, described) / description_length
    concluded = np.maximum(words.per_owner(code, number, named) > 0, np.minimum(1, share_described / NAMED_SHARE))

    answer = words.distinct(np.concatenate((description, code)))
    candidates = _content(vocabulary)
    candidates = candidates[~words.contains(answer, candidates)]
    found = words.contains(words.distinct(note_words.keys), _in_note(candidates, note_of))
    content = words.per_owner(candidates, number)
    shared = words.per_owner(candidates, number, found)
    grounded = np.minimum(1, shared / np.maximum(FEWEST_FINDINGS, content * FINDINGS_SHARE))

    distinct_runs = words.per_owner(trace_runs, number)
    quoted_runs = words.contains(words.runs(note_words), _in_note(trace_runs, note_of))
    quoted = words.per_owner(trace_runs, number, quoted_runs)
    excess = np.maximum(0, quoted - np.maximum(RUNS_QUOTED_FREELY, distinct_runs * SHARE_QUOTED_FREELY))
    quotation = 1 - QUOTATION_COST * excess / np.maximum(1, distinct_runs)
    own_words = (content - shared) / np.maximum(1, content)
    own = np.clip(np.minimum(quotation, own_words / OWN_SHARE), 0, 1)
    fresh = distinct_runs / np.maximum(1, trace_words.counts - words.RUN + 1)
    parts: _Floats = np.stack((grounded, own, fresh, concluded), axis=1)
    return [Reasoning(*row) for row in parts.tolist()]


def _content(keys: words.Array) -> words.Array:
    """The keys whose word has three letters or more, starts with no digit, and is not generic."""
    stems = keys & words.WORD_MASK
    third = (stems >> np.uint64(16)) & np.uint64(0xFF)
    first = stems & np.uint64(0xFF)
    kept: words.Array = keys[(third != 0) & (first > ord("9")) & ~words.contains(_GENERIC, stems)]
    return kept


def _in_note(keys: words.Array, note_of: NDArray[np.int64]) -> words.Array:
    """The same words or runs, with their note's number in place of their trace's."""
    return (keys & words.WORD_MASK) | words.owned_by(note_of[words.owner(keys)])
