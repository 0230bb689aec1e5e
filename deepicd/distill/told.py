"""The rule `told`: a trace that shows that its writer was given the answer, or that mentions the task.

The patterns in told.yaml count anywhere. Words of the task count before the last sentence, which may name what the reasoning
codes to. So does a first person whose verb is not a clinician's. `full code` does not count, and neither do words other than
`code` that are in the note.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from deepicd.distill.findings import sentences

_CODE = re.compile(
    r"\b(?<!full )(?<!no )(?<!stroke )(codes?|coded|coding|coder|icd)\b(?! (?:status|stroke|blue|sepsis|stemi|was called))",
    re.IGNORECASE,
)
_TASK = re.compile(
    r"\b((?<!off )(?<!off-)(?<!no )label(?! of)|title(?! of)|descriptor|(?:my|our|right|correct|final) answer|"
    r"the answer(?! (?:lies|to|may|might|depends))|instructed to)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\{([A-Z_]+)\}")


def shows_that_it_was_told(trace: str, note: str) -> bool:
    """Whether a trace has a phrase that gives away that its writer had the answer, or a word of the task."""
    signs = _signs()
    before = sentences(trace)[:-1]
    if any(pattern.search(trace) for pattern in signs.anywhere) or any(map(signs.are_in, before)):
        return True
    text = ". ".join(before)
    words = {found.lower() for found in _TASK.findall(text)}
    return _CODE.search(text) is not None or not words <= {found.lower() for found in _TASK.findall(note)}


@dataclass(frozen=True, slots=True)
class _Signs:
    """The patterns of told.yaml."""

    anywhere: Sequence[re.Pattern[str]]
    before: Sequence[re.Pattern[str]]
    together: Sequence[Sequence[re.Pattern[str]]]
    unless: re.Pattern[str]
    first_person: re.Pattern[str]
    """Of one who does what a clinician does not; its group `numbered` is the word before `I`, if that is a numeral."""

    def are_in(self, sentence: str) -> bool:
        """Whether a sentence before the last one has signs that count only there."""
        if any(pattern.search(sentence) for pattern in self.before):
            return True
        if any(found["numbered"] is None for found in self.first_person.finditer(sentence)):
            return True
        together = any(all(pattern.search(sentence) for pattern in patterns) for patterns in self.together)
        return together and self.unless.search(sentence) is None


@cache
def _signs() -> _Signs:
    read: dict[str, Any] = yaml.safe_load(files("deepicd.distill").joinpath("told.yaml").read_text(encoding="utf-8"))

    def pattern(*alternatives: str) -> re.Pattern[str]:
        return re.compile(rf"\b{_any(alternatives, read['words'])}(?!\w)", re.IGNORECASE)

    return _Signs(
        anywhere=[pattern(*patterns) for patterns in read["kinds"].values()],
        before=[pattern(*patterns) for patterns in read["before"].values()],
        together=[[pattern(one) for one in patterns] for patterns in read["together"].values()],
        unless=pattern(*read["unless"]),
        first_person=_first_person(**read["first person"]),
    )


def _first_person(numbered: Sequence[str], skipped: Sequence[str], clinician: str) -> re.Pattern[str]:
    """Matches a first person whose verb is none of a clinician's."""
    person = rf"(?:\b(?P<numbered>{'|'.join(numbered)}) )?\b(?:i|we|let me|let us|let's)\b"
    before = rf"(?:'(?:ll|d|m|ve|re)| (?:{'|'.join(skipped)})\b)*+"
    return re.compile(rf"{person}{before},? (?!(?:{'|'.join(map(_forms, clinician.split()))})\b)[a-z]", re.IGNORECASE)


def _forms(verb: str) -> str:
    """A pattern of a regular verb's forms; of other words, of them and some that do not exist."""
    if verb.endswith("e"):
        return rf"{verb[:-1]}(?:e[sd]?|ing)"
    if verb.endswith("y"):
        return rf"{verb[:-1]}(?:y|ying|ies|ied|ys|yed)"
    return rf"{verb}(?:e?s|{verb[-1]}?ed|{verb[-1]}?ing)?"


def _any(patterns: Sequence[str], words: Mapping[str, Sequence[str]]) -> str:
    """A group that matches one of the patterns."""
    return "(?:" + "|".join(_NAME.sub(lambda found: _any(words[found[1]], words), pattern) for pattern in patterns) + ")"
