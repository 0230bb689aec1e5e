"""Texts as arrays of words: a batch of traces is compared with its notes in a few array operations.

A word is a run of ASCII letters. Its stem is its first six letters in lower case, packed into an integer (`radiating` and
`radiates` are both `radiat`), which is enough to look a word up in a note. A run with digits (`J18.9`, `39.1`) is NO_WORD,
which keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

STEM_LETTERS = 6
NO_WORD = 0
"""The stem of a run with digits."""
RUN = 4
"""Length of the word runs by which repetition is found."""

# Letters, in lower case, and digits stay. A dot outside a word separates words and ends a sentence, as do `!`, `?` and line
# breaks. Any other character separates words. Traces and notes are treated alike.
_PARTS, _DOT, _ENDS = 0, 1, 2
_KEPT = bytes(
    ord(chr(byte).lower())
    if chr(byte).isascii() and chr(byte).isalnum()
    else {".": _DOT, "!": _ENDS, "?": _ENDS, "\n": _ENDS}.get(chr(byte), _PARTS)
    for byte in range(256)
)
_STEM_MASKS = np.array([(1 << (8 * length)) - 1 for length in range(STEM_LETTERS + 1)], dtype="<u8")
_LETTER_BIT = np.uint64(0x404040404040)
"""Set in every byte that is a letter; not in digits and dots."""
# Odd, and none is a product of the others.
_FIRST_FACTOR, _SECOND_FACTOR, _TEXT_FACTOR = map(np.uint64, (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9))

Stems = NDArray[np.uint64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Words(NamedTuple):
    """The words of T texts, N in all, in order."""

    stems: Stems
    """[N]"""
    bounds: Ints
    """[T + 1] the index of each text's first word, then N."""
    opens: Flags
    """[N] whether the word starts a sentence."""


def split(texts: Sequence[str]) -> Words:
    """Split texts into words, in linear time."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    # Every text starts after the end of a sentence; the last word needs room to read eight bytes from its start.
    joined = b"\n".join((b"", *encoded, bytes(8))).translate(_KEPT)
    raw = np.frombuffer(joined, dtype=np.uint8)
    kept = raw > _ENDS
    marks = np.flatnonzero(raw - _DOT < _ENDS)  # bytes wrap: a dot or an end
    inner = kept[marks - 1] & kept[marks + 1] & (raw[marks] == _DOT)
    kept[marks[inner]] = True
    edges = np.flatnonzero(kept[1:] != kept[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    eight_bytes = np.ndarray(len(joined) - 7, dtype="<u8", buffer=joined, strides=(1,))
    masks = _STEM_MASKS[np.minimum(ends - starts, STEM_LETTERS)]
    stems = eight_bytes[starts] & masks
    stems[(stems ^ masks) & _LETTER_BIT != 0] = NO_WORD
    bounds = np.searchsorted(starts, np.cumsum([0, *(len(text) + 1 for text in encoded)]))
    opens = np.zeros(len(starts) + 1, dtype=np.bool_)
    opens[np.searchsorted(starts, marks[~inner])] = True
    return Words(stems, bounds, opens[:-1])


def stem(word: str) -> int:
    """The stem of one word."""
    return int(split([word]).stems[0])


def letters(stem: int) -> str:
    """The letters of a stem."""
    return stem.to_bytes(STEM_LETTERS, "little").rstrip(b"\0").decode("ascii")


def number(stems: Stems, known: Stems) -> tuple[Ints, Stems]:
    """Number the distinct stems.

    Args:
        stems: [N]
        known: [K] distinct stems, which get the numbers below K.

    Returns:
        [N] the number of each stem, and [V] the stem of each number.
    """
    size = len(known)
    every = np.concatenate((known, stems))
    same_as = _first_of_same(every, len(every).bit_length(), size)[size:]
    new = np.flatnonzero(same_as == np.arange(size, len(every))) + size
    number_at = np.arange(len(every))
    number_at[new] = np.arange(size, size + len(new))
    return number_at[same_as], np.concatenate((known, every[new]))


def owners(bounds: Ints) -> Ints:
    """[N] the number of each word's text."""
    return np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))


def per_text(flags: NDArray[np.generic], bounds: Ints) -> Ints:
    """[T] the sum of flags or small integers over each text's words."""
    sums = np.zeros(len(bounds) - 1, dtype=np.int64)
    has_words = bounds[:-1] < bounds[1:]
    if has_words.any():
        sums[has_words] = np.add.reduceat(flags, bounds[:-1][has_words], dtype=np.int64)
    return sums


def share_of_distinct_runs(numbers: Ints, bounds: Ints) -> NDArray[np.float64]:
    """[T] distinct runs of four words within each text, as a share of all its runs; 0 without a run.

    Args:
        numbers: [N] numbers of the words.
        bounds: [T + 1] bounds of the texts.
    """
    counts = np.maximum(0, np.diff(bounds) - (RUN - 1))
    if not counts.any():
        return np.zeros(len(counts))
    words = numbers.view(np.uint64)
    pairs = words[:-1] * _FIRST_FACTOR + words[1:]
    keys = pairs[:-2] * _SECOND_FACTOR + pairs[2:]
    keys += np.repeat(np.arange(len(counts), dtype=np.uint64) * _TEXT_FACTOR, np.diff(bounds))[: len(keys)]
    across = (bounds[1:-1, np.newaxis] - np.arange(1, RUN)).ravel()  # runs that start in one text and end in another
    across = across[(across >= 0) & (across < len(keys))]
    keys[across] = across.view(np.uint64)
    first = _first_of_same(keys, (2 * len(keys)).bit_length()) == np.arange(len(keys))
    first[across] = False
    found: NDArray[np.float64] = per_text(first, np.minimum(bounds, len(keys))) / np.maximum(1, counts)
    return found


def _first_of_same(keys: Stems, bits: int, listed: int = 0) -> Ints:
    """For each key, the index of one key equal to it: of the first `listed`, which are distinct, if one of them is.

    Linear time: uses a table of 2^bits hashes, not sorting.
    """
    found = left = np.arange(len(keys))
    asked = keys
    place_in = np.empty(1 << bits, dtype=np.int64)
    for factor in _factors():
        slots = _slots(asked, factor, bits)
        place_in[slots] = left
        listed_left = int(np.searchsorted(left, listed))
        place_in[slots[:listed_left]] = left[:listed_left]  # the last write to a slot wins
        first = place_in[slots]
        if asked is keys:
            found = first
        else:
            found[left] = first
        other = np.flatnonzero(keys[first] != asked)
        if not len(other):
            break
        left = left[other]
        asked = keys[left]
    return found


class Table:
    """Maps keys to small integers above 0, and unknown keys to 0. Exact; built and queried in linear time.

    Args:
        keys: [K] above 0. If a key occurs twice, its last value stays.
        values: [K]; 1 for all by default.
    """

    def __init__(self, keys: Stems, values: NDArray[np.uint8] | None = None) -> None:
        values = np.ones(len(keys), dtype=np.uint8) if values is None else values
        self._levels: list[tuple[np.uint64, int, Stems, NDArray[np.uint8]]] = []
        for factor in _factors():
            if not len(keys):
                break
            bits = (4 * len(keys)).bit_length()
            slots = _slots(keys, factor, bits)
            there, value_of = np.zeros(1 << bits, dtype=np.uint64), np.zeros(1 << bits, dtype=np.uint8)
            there[slots], value_of[slots] = keys, values
            self._levels.append((factor, bits, there, value_of))
            lost = there[slots] != keys  # another key has their slot: they go to the next level
            keys, values = keys[lost], values[lost]

    def __call__(self, keys: Stems) -> NDArray[np.uint8]:
        """[N] the value of each key."""
        values = np.zeros(len(keys), dtype=np.uint8)
        left: Ints | slice = slice(None)
        for factor, bits, there, value_of in self._levels:
            slots = _slots(keys, factor, bits)
            found = there[slots]
            other = found != keys
            values[left] = value_of[slots] * ~other
            open_ = np.flatnonzero(other & (found != 0))
            left = open_ if isinstance(left, slice) else left[open_]
            keys = keys[open_]
        return values


def _slots(keys: Stems, factor: np.uint64, bits: int) -> Ints:
    return ((keys * factor) >> np.uint64(64 - bits)).view(np.int64)


def _factors() -> Iterator[np.uint64]:
    """Endless factors of hashes. Powers, since keys that share a slot under one factor share one under its small multiples."""
    return (np.uint64(pow(int(_FIRST_FACTOR), power, 2**64)) for power in count(1))
