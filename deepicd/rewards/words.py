"""Texts as arrays of words, so that a batch of traces is compared with its notes in a few array operations.

A word is a run of ASCII letters and digits; it is known by its first six bytes in lower case, packed into an integer
(`radiating` and `radiates` are both `radiat`). That is a stemmer good enough to ask whether the note has a word,
and it makes 400,000 words a matter of milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEM_BYTES = 6
OWNER_SHIFT = np.uint64(8 * STEM_BYTES)
"""A word takes the low 48 bits of an integer; the number of its text (below 65,536) takes the high 16."""
WORD_MASK = np.uint64((1 << (8 * STEM_BYTES)) - 1)

# ASCII letters, in lower case, and digits stay; all else parts words, in traces and notes alike.
_KEPT = bytes(ord(chr(byte).lower()) if chr(byte).isascii() and chr(byte).isalnum() else 0 for byte in range(256))
_STEM_MASKS = np.array([(1 << (8 * length)) - 1 for length in range(STEM_BYTES + 1)], dtype="<u8")
_ODD_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
RUN = len(_ODD_FACTORS)
"""The length of the word runs by which quotation and repetition are told."""

_HASHES_PER_KEY = 16

Array = NDArray[np.uint64]


class Words(NamedTuple):
    """The words of some texts, in order."""

    keys: Array
    """One integer a word: text number and stem."""
    counts: NDArray[np.int64]
    """The number of words of each text."""


def words(texts: Sequence[str]) -> Words:
    """Split up to 65,535 texts into words. Linear in their length."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    # A separator before every text, and room to read eight bytes at the last word's start.
    joined = b"\0".join((b"", *encoded, bytes(8))).translate(_KEPT)
    kept = np.frombuffer(joined, dtype=np.uint8) != 0
    edges = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    eight_bytes = np.ndarray(len(joined) - 7, dtype="<u8", buffer=joined, strides=(1,))
    stems = eight_bytes[starts] & _STEM_MASKS[np.minimum(ends - starts, STEM_BYTES)]
    bounds = np.cumsum([0, *(len(text) + 1 for text in encoded)])
    counts = np.diff(np.searchsorted(starts, bounds))
    return Words(stems | owned_by(np.repeat(np.arange(len(texts)), counts)), counts)


def runs(text_words: Words) -> Array:
    """The distinct runs of four words within each text, as sorted integers: text number and a 48-bit hash."""
    keys = text_words.keys
    last = max(0, len(keys) - RUN + 1)
    owners = keys >> OWNER_SHIFT
    mixed = np.zeros(last, dtype=np.uint64)
    for position, factor in enumerate(_ODD_FACTORS):
        mixed += (keys[position : position + last] & WORD_MASK) * np.uint64(factor)
    within = owners[:last] == owners[RUN - 1 : RUN - 1 + last]
    return distinct(((mixed >> np.uint64(16)) | (owners[:last] << OWNER_SHIFT))[within])


def distinct(keys: Array) -> Array:
    """The keys sorted, each once."""
    ordered = np.sort(keys)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def owner(keys: Array) -> NDArray[np.int64]:
    """The text number of each key."""
    return (keys >> OWNER_SHIFT).astype(np.int64)


def owned_by(owners: NDArray[np.int64]) -> Array:
    """Text numbers, moved to where a key keeps them."""
    return owners.astype(np.uint64) << OWNER_SHIFT


def contains(ordered: Array, keys: Array) -> NDArray[np.bool_]:
    """For each key whether it is among sorted ones. Exact; quick where few are."""
    found = np.zeros(len(keys), dtype=np.bool_)
    if not len(ordered):
        return found
    candidates = np.arange(len(keys))
    if len(keys) > len(ordered):
        # Most keys are not among them: a table of hashes tells so for less than a binary search.
        bits = (_HASHES_PER_KEY * len(ordered)).bit_length()
        seen = np.zeros(1 << bits, dtype=np.bool_)
        seen[_hashes(ordered, bits)] = True
        candidates = np.flatnonzero(seen[_hashes(keys, bits)])
    wanted = keys[candidates]
    places = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    found[candidates] = ordered[places] == wanted
    return found


def _hashes(keys: Array, bits: int) -> NDArray[np.int64]:
    return ((keys * np.uint64(_ODD_FACTORS[0])) >> np.uint64(64 - bits)).astype(np.int64)


def per_owner(keys: Array, number: int, among: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """How many keys (among those marked) each of `number` texts has."""
    return np.bincount(owner(keys if among is None else keys[among]), minlength=number)
