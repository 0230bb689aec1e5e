"""The rule `similar`: a trace that is almost the same as another one.

MinHash estimates Jaccard's similarity of their runs of three words.
"""

from __future__ import annotations

from rensa import RMinHash, RMinHashLSH

from deepicd.distill.vocabulary import words

_RUN = 3
_HASHES, _SEED = 256, 42
_LEAST = 0.5
"""Similarity from which the index should find pairs; the hashes then decide."""


def _runs(trace: str) -> list[str]:
    found = words(trace)
    return [" ".join(found[place : place + _RUN]) for place in range(max(1, len(found) - _RUN + 1))]


class Seen:
    """The traces kept so far."""

    def __init__(self, similarity: float) -> None:
        """`similarity`: the lowest at which two traces count as almost the same, in (0, 1]."""
        self._similarity = similarity
        self._index = RMinHashLSH(threshold=min(_LEAST, similarity), num_perm=_HASHES, num_bands=_HASHES // 4)
        self._hashes: list[RMinHash] = []

    def add(self, trace: str) -> bool:
        """Whether no earlier trace is almost the same; this one is then kept."""
        hashes = RMinHash(num_perm=_HASHES, seed=_SEED)
        hashes.update(_runs(trace))
        if any(hashes.jaccard(self._hashes[number]) >= self._similarity for number in self._index.query(hashes)):
            return False
        self._index.insert(len(self._hashes), hashes)
        self._hashes.append(hashes)
        return True
