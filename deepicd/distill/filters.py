"""Decides which of a teacher's answers are kept. Each rule is in its own file."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from deepicd.distill.form import Answer
from deepicd.distill.founded import Note
from deepicd.distill.named import conclusion, is_named
from deepicd.distill.told import shows_that_it_was_told
from deepicd.distill.vocabulary import words
from deepicd.rewards.reasoning import copied_shares
from deepicd.spec.distill import FiltersSpec


class Rule(StrEnum):
    """Why an answer is not kept; the first that applies."""

    FORM = "form"
    """Not in the requested format: no reasoning, no code, text around them, or cut off at the token limit."""
    CODE = "code"
    """A code other than the gold code."""
    LENGTH = "length"
    """Fewer words than `minWords`, or more than `maxWords`."""
    TOLD = "told"
    """It shows that its writer was given the answer."""
    NAMED = "named"
    """It names the code or the title before its conclusion."""
    LATER = "later"
    """Findings from the later part of the discharge summary."""
    NUMBERS = "numbers"
    """Numbers that are not in the note."""
    CONTRADICTED = "contradicted"
    """Findings that the note denies, or denials of findings that it affirms."""
    UNFOUNDED = "unfounded"
    """Findings that are not in the note."""
    COPIED = "copied"
    """A near-copy of the note."""
    SIMILAR = "similar"
    """Almost the same as the trace of another admission."""


@dataclass(frozen=True, slots=True)
class Case:
    """What an answer is about."""

    code: str
    """The gold code, without its dot."""
    title: str
    """Its title; empty if it has none."""
    note: Note
    english: bool = True
    """Whether the notes are in English; the rules on findings work only on English."""


def rejected(answer: Answer, case: Case, filters: FiltersSpec) -> Rule | None:
    """The first rule except `SIMILAR` that rejects an answer; None if no rule does."""
    return next(iter(rejecting(answer, case, filters)), None)


def rejecting(answer: Answer, case: Case, filters: FiltersSpec) -> list[Rule]:
    """All rules except `SIMILAR` that reject an answer. After `FORM`, `CODE` or `LENGTH` the others are not checked."""
    if answer.trace is None or not answer.well_formed:
        return [Rule.FORM]
    if answer.code != case.code:
        return [Rule.CODE]
    if not filters.min_words <= len(words(answer.trace)) <= filters.max_words:
        return [Rule.LENGTH]
    before, _ = conclusion(answer.trace, filters.conclusion)
    support = case.note.support(answer.trace)
    [copied] = copied_shares([(answer.trace, case.note.text)])
    found = {
        Rule.TOLD: shows_that_it_was_told(answer.trace, case.note.text),
        Rule.NAMED: is_named(before, case.code, case.title, case.note.text, filters.title_words),
        Rule.LATER: case.english and support.later > filters.later,
        Rule.NUMBERS: support.unknown_numbers > filters.unknown_numbers,
        Rule.CONTRADICTED: case.english and support.contradictions > filters.contradictions,
        Rule.UNFOUNDED: case.english and support.share_unfounded > filters.unfounded,
        Rule.COPIED: copied > filters.copied,
    }
    return [rule for rule, applies in found.items() if applies]
