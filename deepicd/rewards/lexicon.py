"""The words that the term `reasoning` knows, by number: in every batch of texts they have the first numbers.

The words themselves are in english.py, common_words.py and abbreviations.py.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from deepicd import icd10
from deepicd.rewards import english, words
from deepicd.rewards.abbreviations import EXPANSIONS
from deepicd.rewards.common_words import COMMON, GENERIC, INFERENCE

_GENERIC, _LISTED, _SHORTHAND = range(len(english.Kind), len(english.Kind) + 3)
_KINDS: dict[int, int] = {}
"""Kind by stem; if two lists have a word, the first counts."""
for _kind, _listed in (
    *((int(kind), listed) for kind, listed in english.WORDS.items()),
    (_GENERIC, sorted(GENERIC)),
    (_LISTED, sorted(COMMON)),
    (_SHORTHAND, EXPANSIONS),
):
    for _word in _listed:
        _KINDS.setdefault(words.stem(_word), _kind)
_LONG_STEMS = {words.stem(word) for long in EXPANSIONS.values() for word in long.split()}

KNOWN: words.Stems = np.array([words.NO_WORD, *_KINDS, *sorted(_LONG_STEMS - _KINDS.keys())], dtype=np.uint64)
"""The stem of each number."""
_NUMBER = {int(stem): number for number, stem in enumerate(KNOWN)}


def _number(word: str) -> int:
    return _NUMBER[words.stem(word)]


KINDS: NDArray[np.uint8] = np.array([_KINDS.get(int(stem), english.Kind.CONTENT) for stem in KNOWN], dtype=np.uint8)
FUNCTION_WORDS = np.flatnonzero((KINDS > english.Kind.CONTENT) & (KINDS < _GENERIC))

# Shorthand for one word is replaced by that word. Shorthand for several words grounds them, and they ground it.
SPELLED = np.arange(len(KNOWN))
"""By number: the number of the word that it stands for."""
for _short, _long in EXPANSIONS.items():
    if " " not in _long:
        SPELLED[_number(_short)] = _number(_long)
_SEVERAL = {short: long.split() for short, long in EXPANSIONS.items() if " " in long}
SHORT = np.array([_number(short) for short in _SEVERAL])
LONG = np.array([_number(word) for long in _SEVERAL.values() for word in long])
SHORT_OF_LONG = np.repeat(np.arange(len(_SEVERAL)), [len(long) for long in _SEVERAL.values()])
LONG_STARTS = np.flatnonzero(np.diff(SHORT_OF_LONG, prepend=-1))

KIND_LIMIT = 16
NEVER = np.zeros(KIND_LIMIT**2, dtype=np.bool_)
"""By 16 · kind + kind of the next word: whether hardly any sentence has the two side by side."""
for _first, _seconds in english.NEVER:
    NEVER[[KIND_LIMIT * _first + second for second in _seconds]] = True
_SHARED_STEMS = {words.stem(word) for word in english.SHARED}
_SHARED = np.array([int(stem) in _SHARED_STEMS for stem in KNOWN])


class Lexicon(NamedTuple):
    """What is known of V words, by their numbers."""

    kinds: NDArray[np.uint8]
    content: words.Flags
    """Three letters or more, not a function word, and not a word that every text has."""
    function: words.Flags
    english: words.Flags
    """Function words and clinical shorthand."""
    shared: words.Flags
    """Those of `english` that other languages also have."""


def lexicon(stems: words.Stems) -> Lexicon:
    """What is known of words whose first numbers are those of KNOWN."""
    kinds = np.full(len(stems), english.Kind.CONTENT, dtype=np.uint8)
    kinds[: len(KNOWN)] = KINDS
    shared = np.zeros(len(stems), dtype=np.bool_)
    shared[: len(KNOWN)] = _SHARED
    function = (kinds > english.Kind.CONTENT) & (kinds < _GENERIC)
    content = (kinds >= _LISTED) | ((kinds == english.Kind.CONTENT) & (stems >> np.uint64(16) != 0))
    is_english = function | (kinds == _SHORTHAND)
    return Lexicon(kinds, content, function, is_english, is_english & shared)


@cache
def vocabulary() -> words.Table:
    """The English words that the project knows, read on first use."""
    titles = " ".join(map(icd10.description, icd10.billable_codes()))
    found = words.split([titles, " ".join(sorted(COMMON | INFERENCE | set(EXPANSIONS)))]).stems
    return words.Table(np.unique(found[found != words.NO_WORD]))
