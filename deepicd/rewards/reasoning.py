"""The term `reasoning`: the trace argues from the note, in sentences and in words of its own.

    reasoning = grounded · together · own · uncopied · fresh · prose                     each in [0, 1]

Words are known by six letters (words.py). Runs with digits are none, so codes and numbers neither help nor harm, and
clinical shorthand is spelled out (abbreviations.py). A content word has three letters or more and is no function word
(english.py), nor one that every text or note has (common_words.py). T are the trace's distinct content words without those of
the answer's title, N the note's words. ramp(x, a, b) rises from 0 at x = a to 1 at x = b.

    grounded   ramp(F, 1, 3) · min(1, F / (W / 3)) · ramp(M, 0.25, 0.5)
               W and F weigh T and T ∩ N: a word 1, one that most admission notes have (`cough`, `lungs`) 1/4. A fixed list
               finds two or three such words in any note and so stays near F = 1; padding raises W alone. M is the share of the
               trace's words in sentences of which a word in 12 is in T ∩ N: talk that fits any note is off the point.
    together   min(1, P / 2), P the distinct pairs of content words that stand near each other (two places apart at most)
               and do so in a sentence of the note (three at most), in any order: `rusty sputum`. Words picked one by
               one have none.
    own        min(1, (O - 2 O') / max(2, |T| / 10)), O the words of T - N that are English (in an official title or in a list
               of ours), O' those of them wedged into the note's own text: between two words that it has side by side or up to
               three places apart, or between two copied ones. So a copy in which words are replaced or inserted has none.
    uncopied   1 - ramp(C, 0.1, 0.4), C the share of the trace's words in stretches of 14 or more that go with the note word
               for word, or with single words replaced or inserted.
    fresh      ramp(R, 0.5, 1), R = distinct runs of four words / all of them. Saying it all twice earns nothing.
    prose      ramp(E, 0.06, 0.15) · ramp(V, 0.65, 0.95) · (1 - ramp(S, 0.01, 0.05)); 0 if the note has E < 0.03
               E: share of English function words and clinical shorthand; those that other languages spell alike (`in`, `was`)
               count up to twice the others. V: distinct function words / all^0.75, about 1 or more in English of any length.
               S: pairs of neighbours that no sentence has (`the of`), per word: a text shuffled has 6 % of them.

A product, so that no part makes up for another. The answer is not looked for: naming title or code earns nothing, and whether
the trace leads to it is left to outcome and hierarchy. Without a note, a trace or a known answer the term is 0; so it is where
note or trace is in another language, for the lists are English.

The thresholds are set between honest traces and cheats of invented notes; docs/adr/reward-terms.md says how far that carries.
It measures words, not thought: a sound inference and a false one in the same words are paid alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from deepicd import icd10
from deepicd.rewards import english, words
from deepicd.rewards.abbreviations import EXPANSIONS
from deepicd.rewards.common_words import COMMON, GENERIC, INFERENCE

COMMON_WEIGHT = 0.25
FREE_WEIGHT, FULL_WEIGHT = 1.0, 3.0
FINDINGS_SHARE = 1 / 3
SENTENCE_SHARE, ASTRAY_ALL, ASTRAY_FREE = 12, 0.25, 0.5
PHRASES, NEAR = 2, (1, 2, 3)
OWN_WORDS, OWN_SHARE, WEDGE_COST = 2, 0.1, 2
STRETCH = 14
COPIED_FREE, COPIED_ALL = 0.1, 0.4
REPEATED_ALL = 0.5
LIST_SHARE, PROSE_SHARE = 0.06, 0.15
VARIETY_POWER, VARIETY_NONE, VARIETY_FULL = 0.75, 0.65, 0.95
SLIPS_FREE, SLIPS_ALL = 0.01, 0.05
NOTE_SHARE = 0.03

_BATCH = 64  # arrays of this size stay in the processor's cache
_GENERIC, _COMMON, _SHORTHAND = range(len(english.Kind), len(english.Kind) + 3)
_KINDS = words.Lookup(
    {word: int(kind) for kind, listed in english.WORDS.items() for word in listed}
    | dict.fromkeys(sorted(GENERIC), _GENERIC)
    | dict.fromkeys(sorted(COMMON), _COMMON)
    | dict.fromkeys(EXPANSIONS, _SHORTHAND)
)
_SHARED = words.Lookup(dict.fromkeys(sorted(english.SHARED), 1))
_NEVER = np.zeros((_SHORTHAND + 1,) * 2, dtype=np.bool_)
for _first, _seconds in english.NEVER:
    _NEVER[_first, list(_seconds)] = True
_ONE = {short: long for short, long in EXPANSIONS.items() if " " not in long}
# Shorthand for one other word is replaced by it; that for several grounds them, and they ground it.
_OF_ONE_WORD = words.Lookup({short: number for number, short in enumerate(_ONE, start=1)})
_ONE_WORD = np.array([0, *(words.stems(long)[0] for long in _ONE.values())], dtype=np.uint64)
_SEVERAL = {short: long.split() for short, long in EXPANSIONS.items() if " " in long}
_SHORT = np.array([words.stems(short)[0] for short in _SEVERAL], dtype=np.uint64)
_LONG = np.array([words.stems(word)[0] for long in _SEVERAL.values() for word in long], dtype=np.uint64)
_SHORT_OF_LONG = np.repeat(np.arange(len(_SEVERAL)), [len(long) for long in _SEVERAL.values()])
_LONG_STARTS = np.flatnonzero(np.diff(_SHORT_OF_LONG, prepend=-1))
_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Claim:
    """A trace and the answer that it is for."""

    trace: str | None
    note: str | None
    code: str | None
    """The answer, without its dot."""
    description: str | None
    """The answer's official description; None if it is not in the table."""


@dataclass(frozen=True, slots=True)
class Reasoning:
    """The value and its six parts."""

    grounded: float = 0.0
    together: float = 0.0
    own: float = 0.0
    uncopied: float = 0.0
    fresh: float = 0.0
    prose: float = 0.0

    @property
    def value(self) -> float:
        """The product of the six."""
        return self.grounded * self.together * self.own * self.uncopied * self.fresh * self.prose


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
    notes = _Text(words.words(list(note_numbers), sentences=True))
    traces = _Text(words.words([claim.trace or "" for claim in claims], sentences=True))
    names = words.Among(words.words([claim.description or "" for claim in claims]).keys)
    content = traces.content[~names(traces.content)]
    candidates = words.distinct(content)
    in_note = words.Among(_with_expansions(notes.content, len(note_numbers)))(_in_note(candidates, note_of))
    on_topic = _on_topic(traces, candidates[in_note], number)
    copied, wedged = _copied(traces, notes, note_of)
    parts = np.stack(
        (
            _grounded(candidates, in_note, number) * on_topic,
            _together(content, notes, note_of, number),
            _own(candidates, in_note, traces.places[wedged], number),
            _uncopied(traces, copied, number),
            _fresh(traces.words, number),
            traces.prose(number) * (notes.english(len(note_numbers)) >= NOTE_SHARE)[note_of],
        ),
        axis=1,
    )
    return [Reasoning(*row) for row in parts.tolist()]


def in_english(notes: Sequence[str]) -> list[bool]:
    """For each note whether it is in English; where it is not, the term is 0."""
    shares = _Text(words.words(notes)).english(len(notes))
    return [share >= NOTE_SHARE for share in shares.tolist()]


class _Text:
    """Texts with the kinds of their words."""

    def __init__(self, found: words.Words) -> None:
        self._kinds = _KINDS(found.keys)
        self._written = found.keys
        self.places, self.sentences = _spelled_out(found.keys), found.sentences
        stems = self.places & words.WORD_MASK
        self.words = self.places[stems != 0]
        self.function = (self._kinds > english.Kind.CONTENT) & (self._kinds < _GENERIC)
        self.is_content = ((self._kinds == english.Kind.CONTENT) & (stems >> np.uint64(16) != 0)) | (self._kinds >= _COMMON)
        self.content = self.places[self.is_content]

    def english(self, number: int) -> _Floats:
        """The share of English function words and clinical shorthand among each text's words."""
        function = self._written[self.function | (self._kinds == _SHORTHAND)]
        shared = words.per_owner(function, number, _SHARED(function))
        anchors = words.per_owner(function, number) - shared
        share: _Floats = (anchors + np.minimum(shared, 2 * anchors)) / np.maximum(1, words.per_owner(self.words, number))
        return share

    def prose(self, number: int) -> _Floats:
        """How far each text is made of English sentences."""
        impossible = _NEVER[self._kinds[:-1], self._kinds[1:]]
        impossible &= self.places[:-1] >> words.OWNER_SHIFT == self.places[1:] >> words.OWNER_SHIFT
        slips = words.per_owner(self.places[1:][impossible], number) / np.maximum(1, words.per_owner(self.words, number))
        function = self.places[self.function]
        number_of_function = np.maximum(1, words.per_owner(function, number))
        variety = words.per_owner(words.distinct(function), number) / number_of_function**VARIETY_POWER
        return (
            _ramp(self.english(number), LIST_SHARE, PROSE_SHARE)
            * _ramp(variety, VARIETY_NONE, VARIETY_FULL)
            * _ramp(-slips, -SLIPS_ALL, -SLIPS_FREE)
        )


def _grounded(candidates: words.Array, in_note: words.Flags, number: int) -> _Floats:
    weights = np.where(_KINDS(candidates) == _COMMON, COMMON_WEIGHT, 1.0)
    total = words.per_owner(candidates, number, weights)
    found = words.per_owner(candidates, number, weights * in_note)
    share = np.minimum(1, found / np.maximum(1, total * FINDINGS_SHARE))
    result: _Floats = _ramp(found, FREE_WEIGHT, FULL_WEIGHT) * share
    return result


def _on_topic(traces: _Text, found: words.Array, number: int) -> _Floats:
    is_word = traces.places & words.WORD_MASK != 0
    places, sentences = traces.places[is_word], traces.sentences[is_word]
    findings = traces.sentences[traces.is_content][words.Among(found)(traces.content)]
    to_the_point = np.bincount(findings, minlength=1 + int(sentences.max(initial=0))) * SENTENCE_SHARE >= np.bincount(sentences)
    words_on_topic = words.per_owner(places[to_the_point[sentences]], number)
    return _ramp(words_on_topic / np.maximum(1, words.per_owner(places, number)), ASTRAY_ALL, ASTRAY_FREE)


def _own(candidates: words.Array, in_note: words.Flags, wedged: words.Array, number: int) -> _Floats:
    added = candidates[~in_note]
    added = added[_vocabulary()(added & words.WORD_MASK)]
    free = words.per_owner(added, number) - WEDGE_COST * words.per_owner(added, number, words.Among(wedged)(added))
    return _ramp(free / np.maximum(OWN_WORDS, words.per_owner(candidates, number) * OWN_SHARE), 0, 1)


def _together(content: words.Array, notes: _Text, note_of: NDArray[np.int64], number: int) -> _Floats:
    sentences = notes.sentences[notes.is_content]
    near = words.Among(np.concatenate([words.pairs(notes.content, gap, sentences, ordered=False)[0] for gap in NEAR]))
    found = np.concatenate([words.pairs(content, gap, ordered=False)[0] for gap in (1, 2)])
    return _ramp(words.per_owner(words.distinct(found[near(_in_note(found, note_of))]), number), 0, PHRASES)


def _copied(traces: _Text, notes: _Text, note_of: NDArray[np.int64]) -> tuple[words.Flags, words.Flags]:
    """Of each word of the traces: whether it is part of a copy, and whether it is wedged into one."""
    near = [words.pairs(notes.places, gap, notes.sentences)[0] for gap in (1, 2, 3)]
    copied, wedged = np.zeros((2, len(traces.places)), dtype=np.bool_)
    for gap, among in ((1, near[:1]), (2, near)):
        found, ends = words.pairs(traces.places, gap)
        one_is_content = ~(traces.function[ends] & traces.function[ends - gap])
        found, ends = _in_note(found[one_is_content], note_of), ends[one_is_content]
        is_near = words.Among(np.concatenate(among))(found)
        found, ends = found[is_near], ends[is_near]
        if gap == 2:
            wedged[ends - 1] = True
            ends = ends[words.Among(np.concatenate(near[:2]))(found)]
        for back in range(gap + 1):
            copied[ends - back] = True
    between = ~copied[1:-1] & copied[:-2] & copied[2:]
    wedged[1:-1] |= between
    copied[1:-1] |= between & (traces.places[1:-1] & words.WORD_MASK == 0)
    return copied, wedged


def _uncopied(traces: _Text, copied: words.Flags, number: int) -> _Floats:
    owners = traces.places >> words.OWNER_SHIFT
    begins = copied.copy()
    begins[1:] &= ~copied[:-1] | (owners[1:] != owners[:-1])
    stretch = np.cumsum(begins)[copied] - 1
    copies = words.per_owner(traces.places[copied], number, (np.bincount(stretch) >= STRETCH)[stretch])
    return _ramp(-copies / np.maximum(1, words.per_owner(traces.words, number)), -COPIED_ALL, -COPIED_FREE)


def _fresh(keys: words.Array, number: int) -> _Floats:
    runs = words.runs(keys)
    share = words.per_owner(words.distinct(runs), number) / np.maximum(1, words.per_owner(runs, number))
    return _ramp(share, REPEATED_ALL, 1)


def _ramp(values: NDArray[np.float64], start: float, end: float) -> _Floats:
    result: _Floats = np.clip((values - start) / (end - start), 0, 1)
    return result


@cache
def _vocabulary() -> words.Among:
    """English words as far as the project has them, read on first use."""
    titles = " ".join(map(icd10.description, icd10.billable_codes()))
    return words.Among(
        np.concatenate((words.stems(titles), words.stems(" ".join(sorted(COMMON | INFERENCE | set(EXPANSIONS))))))
    )


def _spelled_out(keys: words.Array) -> words.Array:
    """The same words, those that abbreviate one other word replaced by it."""
    numbers = _OF_ONE_WORD(keys)
    return np.where(numbers > 0, (keys & ~words.WORD_MASK) | _ONE_WORD[numbers], keys)


def _with_expansions(content: words.Array, number: int) -> words.Array:
    """The notes' words, with those that their abbreviations stand for and the abbreviations of what they spell out."""
    has = words.Among(content)
    owners = words.owned_by(np.arange(number))[:, np.newaxis]
    short, long = owners | _SHORT, owners | _LONG
    has_short = has(short.ravel()).reshape(short.shape)
    has_long = np.logical_and.reduceat(has(long.ravel()).reshape(long.shape), _LONG_STARTS, axis=1)
    return np.concatenate((content, long[has_short[:, _SHORT_OF_LONG]], short[has_long]))


def _in_note(keys: words.Array, note_of: NDArray[np.int64]) -> words.Array:
    """The same words or pairs, with their note's number in place of their trace's."""
    return (keys & words.WORD_MASK) | words.owned_by(note_of[words.owner(keys)])
