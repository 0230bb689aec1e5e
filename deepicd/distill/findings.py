"""The findings that a text states about the patient, affirmed or denied. What a text infers, considers or expects is none.

A sentence is read from left to right. A phrase ends at a comma, a conjunction or a preposition such as `with`. Words that infer
(`suggests`, `fits`) end the findings of their clause, those that weigh (`unlikely`, `could`) take the whole clause out, and those
that give reasons (`given`, `because`) begin findings again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from deepicd.distill.vocabulary import is_content

_LINE = 60
"""Characters from which on a line was wrapped, so that its break ends no sentence."""
_END = re.compile(r"[.!?](?=\s|\Z)|;|\n\s*\n")
_TOKEN = re.compile(r"[A-Za-z]+(?:'[a-z]+)?|[,:()\[\]/]|[-–—]{2}|\S")

_NO = frozenset({"no", "without", "not", "never", "neither", "nor", "lacks", "lack", "lacking", "absent", "absence"})
_DENIES = frozenset({"denies", "denied", "deny", "denying", "negative"})
"""They deny a whole list: `denies fever, chills`."""
_AFFIRMS = frozenset({
    "but", "however", "although", "though", "except", "yet", "while", "whereas", "has", "had", "have", "having", "reports",
    "reported", "presents", "presented", "complains", "complained", "endorses", "endorsed", "shows", "showed", "notes", "noted",
    "positive", "which", "that", "who", "admits",
})  # fmt: skip
_AFTER = frozenset({"absent", "negative", "denied"})
"""After a finding they deny it: `fever was denied`."""
_INFERS = frozenset({
    "suggest", "suggests", "suggesting", "suggested", "suggestive", "fit", "fits", "fitting", "support", "supports", "supporting",
    "argue", "argues", "arguing", "point", "points", "pointing", "favor", "favors", "favour", "favours", "indicate", "indicates",
    "indicating", "consistent", "compatible", "imply", "implies", "explain", "explains", "explained", "explaining", "concern",
    "concerning", "reflect", "reflects", "reflecting", "diagnosis", "diagnoses", "diagnostic", "mean", "means", "typical",
    "classic", "characteristic", "therefore", "thus", "hence", "so", "making", "makes", "make", "localizes", "localises",
    "conclude", "concluding", "raises", "raise", "represents", "represent", "against", "speaks", "toward", "towards", "due",
    "cause", "causes", "caused", "rather", "than", "instead", "versus", "vs", "narrows", "steers",
})  # fmt: skip
_WEIGHS = frozenset({
    "unlikely", "likely", "possible", "possibly", "probable", "probably", "could", "would", "may", "might", "should", "if",
    "consider", "considered", "considering", "excluded", "exclude", "excludes", "ruled", "rule", "rules", "differential",
    "alternative", "alternatives", "expect", "expected", "expects", "suspect", "suspected", "hypothesis", "question", "whether",
    "usually", "often", "generally", "typically", "improbable", "unusual", "mimic", "mimics", "compete", "competing", "weighed",
    "look", "looked", "looking", "sought", "asked", "worth", "cannot", "can", "helps", "settle", "matters", "matter",
})  # fmt: skip
_GIVES = frozenset({"given", "because", "since", "despite", "based", "considering"})
_SPLITS = frozenset({",", ":", "(", ")", "[", "]", "/", "--", "–", "—", "and", "or", "with", "plus", "then", "in", "on", "after",
                     "by", "from", "of", "to", "for", "at", "is", "was", "are", "were", "as", "alongside", "accompanied"})  # fmt: skip
_SOFT = frozenset({"in", "on", "after", "by", "from", "of", "to", "for", "at", "is", "was", "are", "were", "as"})
"""They end no phrase: `pain in the leg` is one finding."""
_CLAUSE = frozenset({"but", "while", "whereas", "although", "though", "however"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One stated finding."""

    words: tuple[str, ...]
    """Its content words, at least one."""
    denied: bool


def sentences(text: str) -> list[str]:
    """The sentences of a text. A line break ends one, unless it wraps a line."""
    lines = text.split("\n")
    joined = "".join(line + (" " if len(line) >= _LINE and rest else "\n") for line, rest in zip(lines, [*lines[1:], ""], strict=True))
    parts = (part for whole in _END.split(joined) for part in whole.split("\n"))
    return [part.strip() for part in parts if part.strip()]


def findings(text: str) -> list[Finding]:
    """The findings of a text, in its order."""
    return [finding for sentence in sentences(text) for finding in _of_sentence(sentence)]


def _of_sentence(sentence: str) -> Iterator[Finding]:
    tokens = [token if not token[0].isalpha() else token.lower() for token in _TOKEN.findall(_without_codes(sentence))]
    clause: list[Finding] = []
    phrase: list[str] = []
    stated, denied, whole_list, weighed = True, False, False, False

    def end() -> None:
        nonlocal phrase
        if phrase and stated:
            clause.append(Finding(tuple(phrase), denied))
        phrase = []

    for place, token in enumerate(tokens):
        if token in _CLAUSE:
            end()
            yield from () if weighed else clause
            clause, stated, denied, whole_list, weighed = [], True, False, False, False
        elif token in _GIVES:
            end()
            if not weighed:
                yield from clause
            clause, stated, denied, whole_list, weighed = [], True, False, False, False
        elif token in _WEIGHS:
            phrase, weighed, stated = [], True, False
        elif token in _AFTER and phrase and not denied:
            denied = True
            end()
            denied = whole_list = tokens[place + 1 : place + 2] == ["for"]  # `cultures negative for growth`
        elif token in _DENIES or token in _NO:
            end()
            whole_list = token in _DENIES or place == 0 or (whole_list and denied)
            denied = True
        elif token in _INFERS:
            end()
            stated = False
        elif token in _AFFIRMS:
            end()
            denied = whole_list = False
        elif token in _SPLITS:
            if token not in _SOFT:
                end()
            if token == "," and denied and not whole_list and not _goes_on(tokens[place + 1 :]):
                denied = False
        elif is_content(token):
            phrase.append(token)
    end()
    if not weighed:
        yield from clause


def _goes_on(rest: list[str]) -> bool:
    """Whether what follows a comma belongs to the list before it: `no fever, chills or cough` has one, `no fever, pain` none."""
    following = rest[:1]
    return bool(following) and following[0] in {"or", "nor"}


def _without_codes(text: str) -> str:
    return re.sub(r"\w*\d\w*", " ", text)

