"""Weights of words: the fewer notes have a word, the more it weighs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepicd.rewards import words
from deepicd.rewards.common_words import COMMON

COMMON_WEIGHT = 0.25
"""Weight of a word that most notes have; a rare word weighs 1."""
RARE_SHARE, COMMON_SHARE = 0.05, 0.4
_PARTS = 64  # sums of such fractions are exact, whatever the order of addition


class Rarity:
    """Weights of words: 1 for words that are not listed."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        by_stem = {words.stem(word): round(_PARTS * weight) for word, weight in weights.items()}
        self._table = words.Table(np.array(list(by_stem), dtype=np.uint64), np.array(list(by_stem.values()), dtype=np.uint8))

    def __call__(self, stems: words.Stems) -> NDArray[np.float64]:
        """The weight of each stem, a multiple of 1/64."""
        listed = self._table(stems)
        weights: NDArray[np.float64] = np.where(listed > 0, listed, _PARTS) / _PARTS
        return weights


SHIPPED = Rarity(dict.fromkeys(sorted(COMMON), COMMON_WEIGHT))
"""For notes of an unknown cohort: COMMON has the words of most admission notes."""


def weight_of(share: float) -> float:
    """The weight of a word that this share of the patients have in their notes.

    1 up to 5 %, 0.25 from 40 % on, linear in the logarithm of the share between them.
    """
    place = math.log(max(share, RARE_SHARE) / RARE_SHARE) / math.log(COMMON_SHARE / RARE_SHARE)
    return 1 - (1 - COMMON_WEIGHT) * min(1.0, place)
