"""How much a content word of a note says."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from deepicd.rewards import words
from deepicd.rewards.common_words import COMMON

COMMON_WEIGHT = 0.25
_PARTS = 64  # sums of such fractions are exact, in whatever order a batch adds them


class Rarity:
    """Weights of words: 1 for those that are not listed."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        by_stem = {words.stem(word): round(_PARTS * weight) for word, weight in weights.items()}
        self._table = words.Table(np.array(list(by_stem), dtype=np.uint64), np.array(list(by_stem.values()), dtype=np.uint8))

    def __call__(self, stems: words.Stems) -> NDArray[np.float64]:
        """The weight of each stem, a multiple of 1/64."""
        listed = self._table(stems)
        weights: NDArray[np.float64] = np.where(listed > 0, listed, _PARTS) / _PARTS
        return weights


SHIPPED = Rarity(dict.fromkeys(sorted(COMMON), COMMON_WEIGHT))
