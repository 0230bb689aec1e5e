"""Which words of a text are content words, and whether two words are forms of the same one."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deepicd.distill.discourse import DISCOURSE
from deepicd.rewards import english
from deepicd.rewards.abbreviations import EXPANSIONS
from deepicd.rewards.common_words import GENERIC, INFERENCE

_STEM, _SHORT = 6, 4
"""Words are compared by their first six letters; a shorter word of at least four is a form of a longer one."""
_SHORTHAND = {short: tuple(long.split()) for short, long in EXPANSIONS.items()}
_NO_CONTENT = DISCOURSE.union(*english.WORDS.values())
_NO_CONTENT_STEMS = {word[:_STEM] for word in GENERIC | INFERENCE}
_WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")


def words(text: str) -> list[str]:
    """The words of a text, in lower case; runs with digits are not words."""
    return [word.removesuffix("'s") for word in _WORD.findall(re.sub(r"\w*\d\w*", " ", text.lower()))]


def is_content(word: str) -> bool:
    """Whether a word says something about a patient: it has three letters or more and is in none of the lists."""
    if word in _SHORTHAND:
        return any(map(_is_listed_nowhere, _SHORTHAND[word]))
    return _is_listed_nowhere(word)


def _is_listed_nowhere(word: str) -> bool:
    return len(word) > 2 and word not in _NO_CONTENT and word[:_STEM] not in _NO_CONTENT_STEMS


def content(text: str) -> list[str]:
    """The content words of a text, in its order."""
    return [word for word in words(text) if is_content(word)]


class Known:
    """The words of a text, for looking up other words by their forms, and by clinical shorthand in both directions."""

    def __init__(self, found: Iterable[str]) -> None:
        listed = set(found)
        for word in list(listed):
            listed.update(_SHORTHAND.get(word, ()))
        self._stems = {word[:_STEM] for word in listed}
        self._starts = {word[:length] for word in listed for length in range(_SHORT, _STEM) if len(word) >= length}
        self._short = {word for word in listed if _SHORT <= len(word) < _STEM}

    def __contains__(self, word: str) -> bool:
        if self._has(word):
            return True
        spelled = _SHORTHAND.get(word)
        return spelled is not None and all(map(self._has, spelled))

    def _has(self, word: str) -> bool:
        return (
            word[:_STEM] in self._stems
            or (_SHORT <= len(word) < _STEM and word in self._starts)
            or any(word[:length] in self._short for length in range(_SHORT, min(_STEM, len(word))))
        )
