"""Texts as arrays of words, so that a batch of traces is compared with its notes in a few array operations.

A word is a run of ASCII letters; it is known by its first six in lower case, packed into an integer (`radiating` and
`radiates` are both `radiat`). That is a stemmer good enough to ask whether the note has a word, and it makes 400,000 words
a matter of milliseconds. A run with digits (`J18.9`, `39.1`) holds its place, but is no word.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEM_BYTES = 6
OWNER_SHIFT = np.uint64(8 * STEM_BYTES)
"""A word takes the low 48 bits of an integer; the number of its text (below 65,536) takes the high 16."""
WORD_MASK = np.uint64((1 << (8 * STEM_BYTES)) - 1)

# Letters, in lower case, and digits stay. A dot parts words unless it is inside one, and ends a sentence as `!?` and a new
# line do; all else parts words. The same in traces and notes.
_PARTS, _DOT, _ENDS = 0, 1, 2
_KEPT = bytes(
    ord(chr(byte).lower())
    if chr(byte).isascii() and chr(byte).isalnum()
    else {".": _DOT, "!": _ENDS, "?": _ENDS, "\n": _ENDS}.get(chr(byte), _PARTS)
    for byte in range(256)
)
_STEM_MASKS = np.array([(1 << (8 * length)) - 1 for length in range(STEM_BYTES + 1)], dtype="<u8")
_LETTER_BIT = np.uint64(0x404040404040)
"""Set in each byte that is a letter, in no digit and no dot."""
_ODD_FACTORS = (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93)
RUN = len(_ODD_FACTORS)
"""Length of the word runs by which repetition is found."""

Array = NDArray[np.uint64]
Flags = NDArray[np.bool_]


class Words(NamedTuple):
    """The words of some texts, in order."""

    keys: Array
    """One integer a word: text number and stem. The stem of a run with digits is 0."""
    sentences: NDArray[np.int64]
    """The number of each word's sentence, counted over all texts; empty unless asked for."""


def words(texts: Sequence[str], *, sentences: bool = False) -> Words:
    """Split up to 65,535 texts into words. Linear in their length."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    # The end of a sentence before every text, and room to read eight bytes at the last word's start.
    joined = b"\n".join((b"", *encoded, bytes(8))).translate(_KEPT)
    raw = np.frombuffer(joined, dtype=np.uint8)
    kept = raw > _ENDS
    dots = np.flatnonzero(raw == _DOT)
    inner = kept[dots - 1] & kept[dots + 1]
    kept[dots[inner]] = True
    edges = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    eight_bytes = np.ndarray(len(joined) - 7, dtype="<u8", buffer=joined, strides=(1,))
    masks = _STEM_MASKS[np.minimum(ends - starts, STEM_BYTES)]
    stems = eight_bytes[starts] & masks
    stems[(stems ^ masks) & _LETTER_BIT != 0] = 0
    bounds = np.cumsum([0, *(len(text) + 1 for text in encoded)])
    counts = np.diff(np.searchsorted(starts, bounds))
    found = stems | owned_by(np.repeat(np.arange(len(texts)), counts))
    if not sentences:
        return Words(found, edges[:0])
    stops = np.searchsorted(starts, np.concatenate((np.flatnonzero(raw == _ENDS), dots[~inner])))
    return Words(found, np.cumsum(np.bincount(stops, minlength=len(starts) + 1))[: len(starts)])


def runs(keys: Array) -> Array:
    """The hash of each run of four words within one text, in order: text number and 48 bits."""
    last = max(0, len(keys) - RUN + 1)
    mixed = np.zeros(last, dtype=np.uint64)
    for position, factor in enumerate(_ODD_FACTORS):
        mixed += (keys[position : position + last] & WORD_MASK) * np.uint64(factor)
    owners = keys[:last] >> OWNER_SHIFT
    within = owners == keys[RUN - 1 : RUN - 1 + last] >> OWNER_SHIFT
    found: Array = ((mixed >> np.uint64(16)) | (owners << OWNER_SHIFT))[within]
    return found


def pairs(
    keys: Array, gap: int, groups: NDArray[np.generic] | None = None, *, ordered: bool = True
) -> tuple[Array, NDArray[np.int64]]:
    """The hash of each word with the one `gap` places after it, and the place of the second. Stems of 0 make no pair.

    Args:
        keys: words in order.
        gap: 1 for neighbours.
        groups: pairs are made within a group of consecutive words alone; by default within a text.
        ordered: whether `rusty sputum` and `sputum rusty` differ.
    """
    last = max(0, len(keys) - gap)
    groups = keys >> OWNER_SHIFT if groups is None else groups
    stems = keys & WORD_MASK
    within = (groups[:last] == groups[gap:]) & (stems[:last] != 0) & (stems[gap:] != 0)
    first, second, owners = stems[:last][within], stems[gap:][within], keys[gap:][within] & ~WORD_MASK
    if not ordered:
        first, second = np.minimum(first, second), np.maximum(first, second)
    mixed = first * np.uint64(_ODD_FACTORS[0]) + second * np.uint64(_ODD_FACTORS[1])
    return (mixed >> np.uint64(16)) | owners, np.flatnonzero(within) + gap


def distinct(keys: Array) -> Array:
    """The keys, each once, in an order that depends on them alone. Linear: by a table of hashes, not by sorting."""
    kept = []
    for factor in _factors():
        if not len(keys):
            break
        bits = _bits(len(keys))
        slots, places = _slots(keys, factor, bits), np.arange(len(keys), dtype=np.int32)
        last = np.empty(1 << bits, dtype=np.int32)
        last[slots] = places
        last = last[slots]
        kept.append(keys[last == places])
        keys = keys[keys[last] != keys]
    return np.concatenate(kept) if kept else keys


def stems(text: str) -> Array:
    """The words of one text without a text number, sorted, each once."""
    return distinct(words([text]).keys)


def owner(keys: Array) -> NDArray[np.int64]:
    """The text number of each key."""
    return (keys >> OWNER_SHIFT).astype(np.int64)


def owned_by(owners: NDArray[np.int64]) -> Array:
    """Text numbers, moved to where a key keeps them."""
    return owners.astype(np.uint64) << OWNER_SHIFT


def per_owner(keys: Array, number: int, weights: NDArray[np.generic] | None = None) -> NDArray[np.float64]:
    """How many keys each of `number` texts has, or the sum of their weights."""
    return np.bincount(owner(keys), weights, minlength=number).astype(np.float64)


class Lookup:
    """Small integers by word, 0 for words that are not listed. Exact, one probe a word."""

    _BITS = 16

    def __init__(self, values: Mapping[str, int]) -> None:
        by_stem: dict[int, int] = {}
        for word, value in values.items():
            by_stem.setdefault(int(stems(word)[0]), value)
        keys = np.array(list(by_stem), dtype=np.uint64)
        # A factor under which no two words share a slot.
        self._factor = next(one for one in _factors() if len(np.unique(_slots(keys, one, self._BITS))) == len(keys))
        self._keys = np.zeros(1 << self._BITS, dtype=np.uint64)
        self._values = np.zeros(1 << self._BITS, dtype=np.uint8)
        slots = _slots(keys, self._factor, self._BITS)
        self._keys[slots], self._values[slots] = keys, list(by_stem.values())

    def __call__(self, keys: Array) -> NDArray[np.uint8]:
        """The value of each word."""
        found = keys & WORD_MASK
        slots = _slots(found, self._factor, self._BITS)
        values: NDArray[np.uint8] = self._values[slots] * (self._keys[slots] == found)
        return values


class Among:
    """A set of keys, none of them 0, asked for many at once. Exact; linear to build and to ask."""

    def __init__(self, keys: Array) -> None:
        self._tables: list[tuple[np.uint64, int, Array]] = []
        for factor in _factors():
            if not len(keys):
                break
            bits = _bits(len(keys))
            slots, table = _slots(keys, factor, bits), np.zeros(1 << bits, dtype=np.uint64)
            table[slots] = keys
            self._tables.append((factor, bits, table))
            keys = keys[table[slots] != keys]  # those that lost their slot to another go to the next table

    def __call__(self, keys: Array) -> Flags:
        """For each key whether it is in the set."""
        found = np.zeros(len(keys), dtype=np.bool_)
        asked = np.arange(len(keys))
        for factor, bits, table in self._tables:
            there = table[_slots(keys, factor, bits)]
            same = there == keys
            found[asked[same]] = True
            open_ = np.flatnonzero(~same & (there != 0))
            asked, keys = asked[open_], keys[open_]
        return found


def _bits(number: int) -> int:
    """Of a table with room for so many keys: an eighth to a quarter of its slots."""
    return (4 * number).bit_length()


def _slots(keys: Array, factor: np.uint64, bits: int) -> NDArray[np.int64]:
    return ((keys * factor) >> np.uint64(64 - bits)).view(np.int64)


def _factors() -> Iterator[np.uint64]:
    """Of hashes, without end."""
    return (np.uint64(_ODD_FACTORS[0] * odd % 2**64) for odd in count(1, 2))
