"""Texts as the term `reasoning` compares them: which words each has, and how far it is fresh English prose.

reasoning.py explains the thresholds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from deepicd.rewards import lexicon, words

REPEATED_ALL = 0.5
LIST_SHARE, PROSE_SHARE = 0.06, 0.15
VARIETY_POWER, VARIETY_NONE, VARIETY_FULL = 0.75, 0.65, 0.95
SLIPS_FREE, SLIPS_ALL = 0.01, 0.05

Floats = NDArray[np.float64]


class Texts:
    """T consecutive texts, N words in all, of V different ones."""

    def __init__(self, written: words.Ints, bounds: words.Ints, opens: words.Flags, known: lexicon.Lexicon) -> None:
        self._written, self._known = written, known
        self.bounds, self.opens = bounds, opens
        self.size = len(known.kinds)
        """V"""
        spelled = np.arange(self.size)
        spelled[: len(lexicon.SPELLED)] = lexicon.SPELLED
        self.numbers = spelled[written]
        """[N] the number of each word; for shorthand for one word, the number of that word."""
        self.is_word = self.numbers != 0
        self.words = np.maximum(1, words.per_text(self.is_word, bounds))
        self.function, self.content = known.function[self.numbers], known.content[self.numbers]
        self.owners = words.owners(bounds)
        self.rows = self.owners * self.size
        self.cells = self.rows + self.numbers
        """[N] the index of each word in a flat matrix of texts and words."""
        self.has = self.matrix(self.cells)
        """[T, V] whether the text has the word."""

    def matrix(self, cells: words.Ints) -> words.Flags:
        """[T, V] a matrix with only these cells set."""
        found = np.zeros((len(self.bounds) - 1) * self.size, dtype=np.bool_)
        found[cells] = True
        return found.reshape(-1, self.size)

    def english(self) -> Floats:
        """[T] the share of English function words and clinical shorthand among each text's words."""
        shared = words.per_text(self._known.shared[self._written], self.bounds)
        anchors = words.per_text(self._known.english[self._written], self.bounds) - shared
        share: Floats = (anchors + np.minimum(shared, 2 * anchors)) / self.words
        return share

    def prose(self) -> Floats:
        """[T] how far each text consists of English sentences."""
        kinds = self._known.kinds[self.numbers]
        impossible = np.zeros(len(kinds), dtype=np.bool_)
        impossible[1:] = lexicon.NEVER[kinds[:-1] * np.uint8(lexicon.KIND_LIMIT) + kinds[1:]]
        impossible[self.bounds[:-1][self.bounds[:-1] < len(kinds)]] = False
        slips = words.per_text(impossible, self.bounds) / self.words
        distinct = np.count_nonzero(self.has[:, lexicon.FUNCTION_WORDS], axis=1)
        variety = distinct / np.maximum(1, words.per_text(self.function, self.bounds)) ** VARIETY_POWER
        return (
            ramp(self.english(), LIST_SHARE, PROSE_SHARE)
            * ramp(variety, VARIETY_NONE, VARIETY_FULL)
            * ramp(-slips, -SLIPS_ALL, -SLIPS_FREE)
        )

    def fresh(self) -> Floats:
        """[T] how little each text repeats itself."""
        bounds = np.concatenate(([0], np.cumsum(words.per_text(self.is_word, self.bounds))))
        return ramp(words.share_of_distinct_runs(self.numbers[self.is_word], bounds), REPEATED_ALL, 1)


def ramp(values: NDArray[np.int64] | Floats, start: float, end: float) -> Floats:
    """Rises from 0 where a value is `start` to 1 where it is `end`; constant outside them."""
    result: Floats = np.clip((values - start) / (end - start), 0, 1)
    return result
