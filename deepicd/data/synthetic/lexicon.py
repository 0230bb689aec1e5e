"""The words of the synthetic notes: `lexicon.toml`, read once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_SHORT = 6  # letters


@dataclass(frozen=True, slots=True)
class Presentation:
    """How patients of a category present, in a patient's or doctor's words. `short`: its name in a past history."""

    short: str
    complaint: tuple[str, ...]
    finding: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Lists that fill notes, presentations by category, complaints by chapter, and paraphrases of terms."""

    fill: Mapping[str, Sequence[str]]
    categories: Mapping[str, Presentation]
    chapters: Mapping[int, Sequence[str]]
    terms: Mapping[str, Sequence[str]]
    term_pattern: re.Pattern[str]
    empty_words: frozenset[str]

    def paraphrases(self, description: str) -> list[tuple[str, ...]]:
        """Ways to phrase each informative part of an official description, in the description's order.

        A part in the lexicon gets its paraphrases; after `without`, their denials. Any other informative word is used as it is,
        but shortened as in hurried notes, so that a note seldom contains the title.
        """
        found: list[tuple[str, ...]] = []
        absent = False
        for match in self.term_pattern.finditer(description.lower()):
            word = match[0]
            if word in {"without", "not", "with"} or match[0] == ",":
                absent = word in {"without", "not"}
            elif word in self.terms and absent:
                found.append(tuple(f"no {phrase}" for phrase in self.terms[word]))
            elif word in self.terms:
                found.append(tuple(self.terms[word]))
            elif word not in self.empty_words:
                shorthand = word if len(word) <= _SHORT else word[: _SHORT - 1]
                found.append((f"no {shorthand}" if absent else shorthand,))
        return list(dict.fromkeys(found))


@cache
def lexicon() -> Lexicon:
    """The lexicon, read on first use."""
    value = tomllib.loads(files("deepicd.data.synthetic").joinpath("lexicon.toml").read_text(encoding="utf-8"))
    terms = value["terms"]
    longest_first = sorted(terms, key=len, reverse=True)
    known = "|".join(re.escape(term) for term in longest_first)
    return Lexicon(
        fill=value["fill"],
        categories={
            name: Presentation(entry["short"], tuple(entry["complaint"]), tuple(entry["finding"]))
            for name, entry in value["category"].items()
        },
        chapters={int(number): complaints for number, complaints in value["chapter"].items()},
        terms=terms,
        empty_words=frozenset(value["empty_words"]["of_descriptions"]),
        term_pattern=re.compile(rf"(?<![a-z-])(?:{known})(?![a-z-])|[a-z][a-z'-]+[a-z]|,"),
    )
