"""The findings that a text states about the patient, affirmed or denied. What it infers, considers or expects does not count.

A sentence is read from left to right. A phrase ends at a comma, a conjunction or a preposition such as `with`. Words that infer
(`suggests`, `fits`) end the findings of their clause, those that weigh (`unlikely`, `could`) take the whole clause out, and
and those that give reasons (`given`, `because`) start findings again.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepicd.distill.vocabulary import is_content

_LINE = 60
"""Characters from which on a line was wrapped, so that its break ends no sentence."""
_CODE = re.compile(r"\w*\d\w*")
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
_INFERS = frozenset(
    [
        "suggest",
        "suggests",
        "suggesting",
        "suggested",
        "suggestive",
        "fit",
        "fits",
        "fitting",
        "support",
        "supports",
        "supporting",
        "argue",
        "argues",
        "arguing",
        "point",
        "points",
        "pointing",
        "favor",
        "favors",
        "favour",
        "favours",
        "indicate",
        "indicates",
        "indicating",
        "consistent",
        "compatible",
        "imply",
        "implies",
        "explain",
        "explains",
        "explained",
        "explaining",
        "concern",
        "concerning",
        "reflect",
        "reflects",
        "reflecting",
        "diagnosis",
        "diagnoses",
        "diagnostic",
        "mean",
        "means",
        "typical",
        "classic",
        "characteristic",
        "therefore",
        "thus",
        "hence",
        "so",
        "making",
        "makes",
        "make",
        "localizes",
        "localises",
        "conclude",
        "concluding",
        "raises",
        "raise",
        "represents",
        "represent",
        "against",
        "speaks",
        "toward",
        "towards",
        "due",
        "cause",
        "causes",
        "caused",
        "rather",
        "than",
        "instead",
        "versus",
        "vs",
        "narrows",
        "steers",
    ]
)
_WEIGHS = frozenset(
    [
        "unlikely",
        "likely",
        "possible",
        "possibly",
        "probable",
        "probably",
        "could",
        "would",
        "may",
        "might",
        "should",
        "if",
        "consider",
        "considered",
        "excluded",
        "exclude",
        "excludes",
        "ruled",
        "rule",
        "rules",
        "differential",
        "alternative",
        "alternatives",
        "expect",
        "expected",
        "expects",
        "suspect",
        "suspected",
        "hypothesis",
        "question",
        "whether",
        "usually",
        "often",
        "generally",
        "typically",
        "improbable",
        "unusual",
        "mimic",
        "mimics",
        "compete",
        "competing",
        "weighed",
        "look",
        "looked",
        "looking",
        "sought",
        "asked",
        "worth",
        "cannot",
        "can",
        "helps",
        "settle",
        "matters",
        "matter",
    ]
)
_GIVES = frozenset(["given", "because", "since", "despite", "based", "considering"])
_SOFT = frozenset(["in", "on", "after", "by", "from", "of", "to", "for", "at", "is", "was", "are", "were", "as"])
"""They end no phrase: `pain in the leg` is one finding."""
_SPLITS = _SOFT | frozenset(
    [",", ":", "(", ")", "[", "]", "/", "--", "–", "—", "and", "or", "with", "plus", "then", "alongside", "accompanied"]
)
_CLAUSE = frozenset(["but", "while", "whereas", "although", "though", "however"])


@dataclass(frozen=True, slots=True)
class Finding:
    """One stated finding."""

    words: tuple[str, ...]
    """Its content words, at least one."""
    denied: bool


def sentences(text: str) -> list[str]:
    """The sentences of a text. A line break ends one, unless it wraps a line."""
    lines = text.split("\n")
    joined = "".join(
        line + (" " if len(line) >= _LINE and rest else "\n") for line, rest in zip(lines, [*lines[1:], ""], strict=True)
    )
    parts = (part for whole in _END.split(joined) for part in whole.split("\n"))
    return [part.strip() for part in parts if part.strip()]


def findings(text: str) -> list[Finding]:
    """The findings of a text, in its order."""
    return [finding for sentence in sentences(text) for finding in _of_sentence(sentence)]


def _of_sentence(sentence: str) -> list[Finding]:
    tokens = [token if not token[0].isalpha() else token.lower() for token in _TOKEN.findall(_CODE.sub(" ", sentence))]
    reader = _Reader()
    for place, token in enumerate(tokens):
        reader.read(token, first=place == 0, rest=tokens[place + 1 :])
    reader.end_clause()
    return reader.found


class _Reader:
    """Reads the words of a sentence one by one."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self._begin()

    def _begin(self) -> None:
        self._clause: list[Finding] = []
        self._phrase: list[str] = []
        self._stated, self._denied, self._whole_list, self._weighed = True, False, False, False

    def end_clause(self) -> None:
        """The clause has ended."""
        self._end_phrase()
        if not self._weighed:
            self.found += self._clause
        self._begin()

    def _end_phrase(self) -> None:
        if self._phrase and self._stated:
            self._clause.append(Finding(tuple(self._phrase), self._denied))
        self._phrase = []

    def read(self, token: str, *, first: bool, rest: list[str]) -> None:
        """Read a word or sign; `rest`: what follows it."""
        if token in _CLAUSE or token in _GIVES:
            self.end_clause()
        elif token in _WEIGHS:
            self._phrase, self._weighed, self._stated = [], True, False
        elif token in _AFTER and self._phrase and not self._denied:
            self._denied = True
            self._end_phrase()
            self._denied = self._whole_list = rest[:1] == ["for"]  # `cultures negative for growth`
        elif token in _DENIES or token in _NO:
            self._end_phrase()
            self._whole_list = token in _DENIES or first or (self._whole_list and self._denied)
            self._denied = True
        elif token in _INFERS:
            self._end_phrase()
            self._stated = False
        elif token in _AFFIRMS:
            self._end_phrase()
            self._denied = self._whole_list = False
        elif token in _SPLITS:
            self._read_split(token, rest)
        elif is_content(token):
            self._phrase.append(token)

    def _read_split(self, sign: str, rest: list[str]) -> None:
        if sign not in _SOFT:
            self._end_phrase()
        if sign == "," and self._denied and not self._whole_list and not _goes_on(rest):
            self._denied = False


def _goes_on(rest: list[str]) -> bool:
    """Whether a denial before a comma continues after it, as in `no fever, or chills`."""
    return rest[:1] in (["or"], ["nor"])
