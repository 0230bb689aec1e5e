"""Whether the findings of a trace are in its note: the rules `unfounded`, `contradictions`, `later` and `unknown_numbers`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from deepicd.distill.findings import Finding, findings, sentences
from deepicd.distill.numbers import numbers, numbers_of_note
from deepicd.distill.vocabulary import Known, content

_FOUNDED = 0.5
"""Share of a finding's words that must be in the note."""


@dataclass(frozen=True, slots=True)
class Later:
    """Text that is only in the later part of a discharge summary."""

    words: frozenset[str]
    """Content words that are not in the earlier part."""
    numbers: frozenset[float]

    def to_json(self) -> str:
        """The words and numbers as JSON; the same content gives the same text."""
        return json.dumps([sorted(self.words), sorted(self.numbers)])

    @classmethod
    def from_json(cls, text: str) -> Later:
        """What `to_json` wrote."""
        words, found = json.loads(text)
        return cls(frozenset(words), frozenset(found))


NOTHING_LATER = Later(frozenset(), frozenset())


def later_part(earlier: str, later: str) -> Later:
    """Compare the later part of a discharge summary with the text before it."""
    known = Known(content(earlier))
    return Later(
        frozenset(word for word in content(later) if word not in known), frozenset(numbers(later) - numbers_of_note(earlier))
    )


@dataclass(frozen=True, slots=True)
class Support:
    """Counts over a trace: of the findings before its last sentence, the conclusion, and of all its numbers."""

    findings: int
    unfounded: int
    """Findings whose words are not in the note."""
    later: int
    """Findings and numbers that are in the later part of the summary but not in the note."""
    contradictions: int
    """Findings that the note only denies and the trace affirms, or the reverse."""
    unknown_numbers: int
    """Numbers that are not in the note."""

    @property
    def share_unfounded(self) -> float:
        """In [0, 1]; 0 without findings."""
        return self.unfounded / self.findings if self.findings else 0.0


class Note:
    """A note, read once for all answers about it."""

    def __init__(self, text: str, title: str, later: Later = NOTHING_LATER) -> None:
        """`title`: of the gold code. Its words need no support, because they are the conclusion."""
        self.text = text
        self._known = Known(content(text))
        self._title = Known(content(title))
        self._numbers = numbers_of_note(text) | numbers(title)
        self._stated = [(Known(finding.words), finding.denied) for finding in findings(text)]
        self._later_words, self._later_numbers = Known(later.words), later.numbers

    def support(self, trace: str) -> Support:
        """How far the note supports a trace."""
        before = sentences(trace)[:-1] or [trace]
        own = [_without(finding, self._title) for sentence in before for finding in findings(sentence)]
        stated = [finding for finding in own if finding.words]
        missing = [finding for finding in stated if not self._founds(finding)]
        later = sum(any(word in self._later_words for word in self._unknown(finding)) for finding in missing)
        unknown = numbers(trace) - self._numbers
        return Support(
            findings=len(stated),
            unfounded=len(missing),
            later=later + len(unknown & self._later_numbers),
            contradictions=sum(self._contradicts(finding) for finding in stated),
            unknown_numbers=len(unknown),
        )

    def _unknown(self, finding: Finding) -> Sequence[str]:
        return [word for word in finding.words if word not in self._known]

    def _founds(self, finding: Finding) -> bool:
        return len(self._unknown(finding)) <= (1 - _FOUNDED) * len(finding.words)

    def _contradicts(self, finding: Finding) -> bool:
        overlaps = [(sum(word in words for word in finding.words), denied) for words, denied in self._stated]
        best = max((overlap for overlap, _ in overlaps), default=0)
        if best <= _FOUNDED * len(finding.words) and best < len(finding.words):
            return False
        return all(denied != finding.denied for overlap, denied in overlaps if overlap == best)


def _without(finding: Finding, title: Known) -> Finding:
    return Finding(tuple(word for word in finding.words if word not in title), finding.denied)
