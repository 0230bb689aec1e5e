"""Finds codes by words of their titles, and suggests codes and words for mistyped ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from string import ascii_uppercase, digits

from deepicd.icd10.lookup import ancestors, description, is_valid
from deepicd.icd10.table import table

_WORD = re.compile(r"[a-z0-9]+")
_NEAREST = 5


def search(text: str) -> list[str]:
    """All codes and headers whose title has every word of the text, sorted. A word matches words that start with it.

    Case, accents and word order do not matter. Without a word the result is empty.
    """
    wanted = _words(text)
    patterns = [re.compile(rf"(?<![a-z0-9]){word}") for word in wanted]
    if not wanted:
        return []
    return [
        code
        for code in table().codes
        if all(word in (title := description(code).lower()) for word in wanted)
        and all(pattern.search(title) for pattern in patterns)
    ]


def nearest_words(text: str) -> dict[str, str | None]:
    """For each word of the text that starts no word of any title: the most similar word of the titles, or None."""
    from difflib import get_close_matches  # rewards, which need no search, import this module too

    vocabulary = _vocabulary()
    unknown = [word for word in _words(text) if not any(known.startswith(word) for known in vocabulary)]
    return {word: next(iter(get_close_matches(word, vocabulary, n=1)), None) for word in unknown}


def nearest_codes(code: str) -> list[str]:
    """At most five existing codes that a code that does not exist may stand for.

    First those with one typing error (a character too many, missing, wrong, or two swapped), then the existing ancestors.
    """
    before_after = [(code[:place], code[place:]) for place in range(len(code) + 1)]
    characters = digits + ascii_uppercase
    slips = [before + after[1:] for before, after in before_after if after]
    slips += [before + after[1] + after[0] + after[2:] for before, after in before_after if len(after) > 1]
    slips += [before + other + after[1:] for before, after in before_after if after for other in characters]
    slips += [before + other + after for before, after in before_after for other in characters]
    found = sorted(filter(is_valid, set(slips)), key=lambda one: (-_shared(one, code), one))
    return list(dict.fromkeys([*found, *ancestors(code)]))[:_NEAREST]


def _shared(one: str, other: str) -> int:
    """Length of the common prefix."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _words(text: str) -> list[str]:
    import unicodedata

    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    return _WORD.findall(plain.lower())


@cache
def _vocabulary() -> Sequence[str]:
    return sorted({word for code in table().codes for word in _WORD.findall(description(code).lower())})
