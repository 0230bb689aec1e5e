"""The term `reasoning`: whether the trace argues from the note, in sentences and in its own words.

    reasoning = grounded · together · own · uncopied · fresh · prose                     each in [0, 1]

Words are compared by their first six letters (words.py). Runs with digits are not words, so codes and numbers neither help
nor harm. Clinical shorthand is spelled out (abbreviations.py). A content word has three letters or more and is neither a
function word (english.py) nor a word that every text has (common_words.py). T are the trace's distinct content words that are
not in the answer's title, N the note's words. ramp(x, a, b) rises from 0 at x = a to 1 at x = b.

    grounded   ramp(F, 1, 3) · min(1, F / (W / 3)) · ramp(M, 0.25, 0.5)
               W and F are the weights of T and of T ∩ N: a rare word weighs 1, one of most notes (`cough`) 1/4 (rarity.py).
               A fixed list of words finds two or three common ones in any note, so F stays near 1; padding raises only W.
               M is the share of the trace's words in sentences to the point: at least a word in 12 is in T ∩ N. Phrases that
               fit any note are not to the point.
    together   min(1, P / 2), P the distinct pairs of content words that are near each other in the trace (at most two places
               apart) and in a sentence of the note (at most three), in any order: `rusty sputum`. Words picked one by one
               make no pairs.
    own        min(1, (O - 2 O') / max(2, |T| / 10)). O counts the English words (of an official title or of the project's
               lists) in T - N that are in sentences to the point, and at most one other: text before or after a copy is not
               its reasoning. O' counts those wedged into the note's own text: between two words that are at most three places
               apart in the note, or between two copied words. So a copy with words replaced or inserted earns nothing.
    uncopied   1 - ramp(C, 0.1, 0.4), C the share of the trace's words in stretches of 14 or more that follow the note word
               for word, or with words left out, replaced or inserted: words at most two places apart that are at most three
               apart in a sentence of the note.
    fresh      ramp(R, 0.5, 1), R = distinct runs of four words / all runs. A trace that says everything twice earns nothing.
    prose      ramp(E, 0.06, 0.15) · ramp(V, 0.65, 0.95) · (1 - ramp(S, 0.01, 0.05)); 0 if the note has E < 0.03
               E: share of English function words and clinical shorthand; those that other languages also have (`in`, `was`)
               count up to twice the others. V: distinct function words / all^0.75, about 1 or more in English of any length.
               S: neighbours that no sentence has (`the of`), per word; shuffled text has 6 %.

The term is a product, so that no part makes up for another. Naming the answer's title or code earns nothing; outcome and
hierarchy judge the answer. The term is 0 without a note, a trace or a known answer, and if note or trace is in another
language, since the lists are English.

The thresholds separate honest traces from cheats on invented notes; docs/adr/reward-terms.md gives the limits of that. The term
measures words, not thought: a sound and a false inference in the same words earn the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deepicd.rewards import lexicon, words
from deepicd.rewards.rarity import SHIPPED, Rarity
from deepicd.rewards.texts import Floats, Texts, ramp

FREE_WEIGHT, FULL_WEIGHT = 1.0, 3.0
FINDINGS_SHARE = 1 / 3
SENTENCE_SHARE, ASTRAY_ALL, ASTRAY_FREE = 12, 0.25, 0.5
PHRASES, NEAR = 2, (1, 2, 3)
OWN_WORDS, OWN_SHARE, OWN_ASTRAY, WEDGE_COST = 2, 0.1, 1, 2
STRETCH = 14
COPIED_FREE, COPIED_ALL = 0.1, 0.4
NOTE_SHARE = 0.03

_BATCH = 64  # arrays of this size stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Claim:
    """A trace, its note and its answer."""

    trace: str | None
    note: str | None
    code: str | None
    """The answer, without its dot."""
    description: str | None
    """The answer's official description; None if the table does not have the code."""


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


def reasoning(claims: Sequence[Claim], rarity: Rarity = SHIPPED) -> list[Reasoning]:
    """Score a batch, in linear time in the length of traces and notes. A note shared by several traces is processed once."""
    scores = [Reasoning()] * len(claims)
    measurable = [
        index for index, claim in enumerate(claims) if None not in (claim.trace, claim.note, claim.code, claim.description)
    ]
    for start in range(0, len(measurable), _BATCH):
        batch = measurable[start : start + _BATCH]
        for index, score in zip(batch, _measure([claims[index] for index in batch], rarity), strict=True):
            scores[index] = score
    return scores


def in_english(notes: Sequence[str]) -> list[bool]:
    """For each note, whether it is in English; if not, the term is 0."""
    found = words.split(notes)
    numbers, stems = words.number(found.stems, lexicon.KNOWN)
    texts = Texts(numbers, found.bounds, found.opens, lexicon.lexicon(stems))
    return [share >= NOTE_SHARE for share in texts.english().tolist()]


def _measure(claims: Sequence[Claim], rarity: Rarity) -> list[Reasoning]:
    number = len(claims)
    note_numbers: dict[str, int] = {}
    note_of = np.array([note_numbers.setdefault(claim.note or "", len(note_numbers)) for claim in claims])
    texts = [*note_numbers, *(claim.trace or "" for claim in claims), *(claim.description or "" for claim in claims)]
    found = words.split(texts)
    numbers, stems = words.number(found.stems, lexicon.KNOWN)
    known = lexicon.lexicon(stems)
    ends = (0, len(texts) - 2 * number, len(texts) - number, len(texts))
    notes, traces, titles = (
        Texts(numbers[low:high], found.bounds[first : last + 1] - low, found.opens[low:high], known)
        for first, last in pairwise(ends)
        for low, high in (found.bounds[[first, last]],)
    )
    candidates = traces.has & known.content & ~titles.has
    grounds = _with_expansions(notes.has & known.content)[note_of]
    added = candidates & ~grounds & (lexicon.vocabulary()(stems) > 0)
    finding = (candidates & grounds).ravel()[traces.cells]
    to_the_point = _to_the_point(traces, finding)
    note_rows = np.repeat(note_of * notes.size, np.diff(traces.bounds))
    copied, wedged = _copied(traces, notes, note_rows)
    parts = np.stack(
        (
            _grounded(candidates, grounds, rarity(stems)) * _on_the_point(traces, to_the_point),
            _together(traces, np.flatnonzero(candidates.ravel()[traces.cells]), finding, notes, note_rows),
            _own(candidates, added, *(traces.matrix(traces.cells[which]) for which in (to_the_point, wedged))),
            _uncopied(traces, copied),
            traces.fresh(),
            traces.prose() * (notes.english() >= NOTE_SHARE)[note_of],
        ),
        axis=1,
    )
    return [Reasoning(*row) for row in parts.tolist()]


def _with_expansions(content: words.Flags) -> words.Flags:
    """[D, V] the notes' words, the words that their abbreviations stand for, and the abbreviations of words they spell out."""
    has_short = content[:, lexicon.SHORT]
    has_long = np.logical_and.reduceat(content[:, lexicon.LONG], lexicon.LONG_STARTS, axis=1)
    grounds = content.copy()
    note, short = np.nonzero(has_short[:, lexicon.SHORT_OF_LONG])
    grounds[note, lexicon.LONG[short]] = True
    note, short = np.nonzero(has_long)
    grounds[note, lexicon.SHORT[short]] = True
    return grounds


def _grounded(candidates: words.Flags, grounds: words.Flags, weights: Floats) -> Floats:
    """`candidates`, `grounds`: [T, V]; `weights`: [V]."""
    lighter = np.flatnonzero(weights < 1)
    total, found = (
        np.count_nonzero(which, axis=1) - which[:, lighter] @ (1 - weights[lighter])
        for which in (candidates, candidates & grounds)
    )
    share = np.minimum(1, found / np.maximum(1, total * FINDINGS_SHARE))
    result: Floats = ramp(found, FREE_WEIGHT, FULL_WEIGHT) * share
    return result


def _on_the_point(traces: Texts, to_the_point: words.Flags) -> Floats:
    there = words.per_text(to_the_point & traces.is_word, traces.bounds)
    return ramp(there / traces.words, ASTRAY_ALL, ASTRAY_FREE)


def _to_the_point(traces: Texts, finding: words.Flags) -> words.Flags:
    """[N] whether at least one in 12 words of the word's sentence is a finding."""
    if not len(finding):
        return finding
    starts = np.flatnonzero(traces.opens)
    number_of_words = np.add.reduceat(traces.is_word, starts, dtype=np.int64)
    found = np.add.reduceat(finding, starts, dtype=np.int64) * SENTENCE_SHARE >= number_of_words
    return np.repeat(found, np.diff(starts, append=len(finding)))


def _own(candidates: words.Flags, added: words.Flags, to_the_point: words.Flags, wedged: words.Flags) -> Floats:
    """All arguments: [T, V]."""
    counted = np.count_nonzero(added & to_the_point, axis=1)
    astray = np.count_nonzero(added, axis=1) - counted
    free = counted + np.minimum(OWN_ASTRAY, astray) - WEDGE_COST * np.count_nonzero(added & wedged, axis=1)
    return ramp(free / np.maximum(OWN_WORDS, np.count_nonzero(candidates, axis=1) * OWN_SHARE), 0, 1)


def _together(traces: Texts, places: words.Ints, finding: words.Flags, notes: Texts, note_rows: words.Ints) -> Floats:
    """`places`: indices of the traces' content words, without those of the answer's title."""
    in_notes = np.flatnonzero(notes.content)
    sentences, rows, numbers = np.cumsum(notes.opens)[in_notes], notes.rows[in_notes], notes.numbers[in_notes]
    near = []
    for gap in NEAR:
        keys = _pairs(rows[gap:], numbers[:-gap], numbers[gap:], notes.size, ordered=False)
        near.append(keys[sentences[:-gap] == sentences[gap:]])
    is_near = words.Table(np.concatenate(near))
    owners, rows, numbers = traces.owners[places], note_rows[places], traces.numbers[places]
    findings = finding[places]
    found = []
    for gap in (1, 2):
        first = np.flatnonzero(findings[:-gap] & findings[gap:] & (owners[:-gap] == owners[gap:]))
        keys = _pairs(rows[first], numbers[first], numbers[first + gap], notes.size, ordered=False)
        there = is_near(keys) > 0
        found.append((owners[first[there]], keys[there]))
    texts, keys = map(np.concatenate, zip(*found, strict=True))
    # The smallest and the largest key tell no pair, one distinct pair, and two or more apart.
    least, most = np.full(len(traces.words), keys.max(initial=0)), np.zeros(len(traces.words), dtype=np.uint64)
    np.minimum.at(least, texts, keys)
    np.maximum.at(most, texts, keys)
    return ((most > 0).astype(np.float64) + (most > least)) / 2


def _pairs(rows: words.Ints, first: words.Ints, second: words.Ints, size: int, *, ordered: bool = True) -> words.Stems:
    """Keys above 0 for pairs of words in notes.

    `rows` are the notes' numbers times `size`; `first` and `second` the words' numbers, below `size`.
    """
    if not ordered:
        first, second = np.minimum(first, second), np.maximum(first, second)
    return ((rows + first) * size + second).view(np.uint64)


def _copied(traces: Texts, notes: Texts, note_rows: words.Ints) -> tuple[words.Flags, words.Flags]:
    """[N] and [N]: whether each word of the traces is part of a copy, and whether it is wedged into one."""
    sentences = np.cumsum(notes.opens)
    near = []
    for gap in NEAR:
        which = (sentences[:-gap] == sentences[gap:]) & notes.is_word[:-gap] & notes.is_word[gap:]
        which &= ~(notes.function[:-gap] & notes.function[gap:])
        near.append(_pairs(notes.rows[:-gap], notes.numbers[:-gap], notes.numbers[gap:], notes.size)[which])
    is_near = words.Table(np.concatenate(near))
    in_note = traces.is_word & notes.has.ravel()[note_rows + traces.numbers]
    copied, wedged = np.zeros((2, len(in_note)), dtype=np.bool_)
    for gap in (1, 2):
        both = in_note[:-gap] & in_note[gap:] & ~(traces.function[:-gap] & traces.function[gap:])
        both &= traces.owners[:-gap] == traces.owners[gap:]
        first = np.flatnonzero(both)
        both[first] = is_near(_pairs(note_rows[first], traces.numbers[first], traces.numbers[first + gap], notes.size)) > 0
        for further in range(gap + 1):
            copied[further : further + len(both)] |= both
    wedged[1:-1] = both
    between = ~copied[1:-1] & copied[:-2] & copied[2:] & (traces.owners[:-2] == traces.owners[2:])
    wedged[1:-1] |= between
    copied[1:-1] |= between & ~traces.is_word[1:-1]
    return copied, wedged


def copied_shares(pairs: Sequence[tuple[str, str]]) -> list[float]:
    """C of each pair of trace and note, in [0, 1]: see `uncopied`."""
    if not pairs:
        return []
    found = words.split([*(note for _, note in pairs), *(trace for trace, _ in pairs)])
    numbers, stems = words.number(found.stems, lexicon.KNOWN)
    known = lexicon.lexicon(stems)
    start = found.bounds[len(pairs)]
    notes = Texts(numbers[:start], found.bounds[: len(pairs) + 1], found.opens[:start], known)
    traces = Texts(numbers[start:], found.bounds[len(pairs) :] - start, found.opens[start:], known)
    note_rows = np.repeat(np.arange(len(pairs)) * notes.size, np.diff(traces.bounds))
    copied, _ = _copied(traces, notes, note_rows)
    shares: list[float] = _share_copied(traces, copied).tolist()
    return shares


def _uncopied(traces: Texts, copied: words.Flags) -> Floats:
    return ramp(-_share_copied(traces, copied), -COPIED_ALL, -COPIED_FREE)


def _share_copied(traces: Texts, copied: words.Flags) -> Floats:
    before = np.zeros(len(copied) + 1, dtype=np.bool_)
    before[1:] = copied
    before[traces.bounds] = False
    after = np.zeros(len(copied) + 1, dtype=np.bool_)
    after[:-1] = copied
    after[traces.bounds] = False
    starts, ends = np.flatnonzero(copied & ~before[:-1]), np.flatnonzero(copied & ~after[1:]) + 1
    lengths = ends - starts
    copies = np.bincount(traces.owners[starts], lengths * (lengths >= STRETCH), minlength=len(traces.words))
    share: Floats = copies / traces.words
    return share
