"""The rule `named`: a trace that names the code, a code above it or the title before its conclusion."""

from __future__ import annotations

import re

from deepicd import icd10
from deepicd.distill.findings import sentences
from deepicd.distill.vocabulary import Known, content

_SHORTEST = 3


def conclusion(trace: str, share: float) -> tuple[list[str], list[str]]:
    """The sentences of a trace before and in its conclusion: the last share of its words, and at least its last sentence."""
    parts = sentences(trace)
    total = sum(len(part.split()) for part in parts)
    place, words = max(0, len(parts) - 1), len(parts[-1].split()) if parts else 0
    while place and words + len(parts[place - 1].split()) <= share * total:
        place -= 1
        words += len(parts[place].split())
    return parts[:place], parts[place:]


def is_named(before: list[str], code: str, title: str, note: str, share: float) -> bool:
    """Whether sentences name the code, a code above it, or the title.

    Args:
        before: sentences before the conclusion.
        code: the gold code, without its dot.
        title: its title; empty if it has none.
        note: the admission note. The trace may repeat names that are in it.
        share: of the title's words that are not in the note; a sentence with this share names the title.
    """
    text = " ".join(before)
    if any(found.search(text) and not found.search(note) for found in map(_pattern, _of(code))):
        return True
    known = Known(content(note))
    own = list(dict.fromkeys(word for word in content(title) if word not in known))
    if not own:
        return False
    return any(_has(Known(content(sentence)), own) >= share * len(own) for sentence in before)


def _has(sentence: Known, words: list[str]) -> int:
    return sum(word in sentence for word in words)


def _of(code: str) -> list[str]:
    above = icd10.ancestors(code) if icd10.is_valid(code) else ()
    return [code, *(one for one in above if len(one) >= _SHORTEST)]


def _pattern(code: str) -> re.Pattern[str]:
    head, tail = re.escape(code[:_SHORTEST]), re.escape(code[_SHORTEST:])
    # A category may be a vertebra or a vitamin (T12, B12), so it counts in capitals only.
    return (
        re.compile(rf"(?<!\w){head}(?:[.\s]{{0,2}}{tail})(?!\w)", re.IGNORECASE)
        if tail
        else re.compile(rf"(?<!\w){head}(?!\w)")
    )
