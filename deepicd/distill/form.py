"""Reads a teacher's answer: reasoning, then the code."""

from __future__ import annotations

import re
from dataclasses import dataclass

from deepicd.completion import parse

_OPENS, _CLOSES = "<reasoning>", "</reasoning>"
_THOUGHT = "</think>"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
"""Characters that are no text."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A teacher's answer, read."""

    trace: str | None
    code: str | None
    well_formed: bool


def read(text: str, *, truncated: bool, own_prompt: bool) -> Answer:
    """Read an answer.

    Args:
        text: the answer.
        truncated: whether it was cut off at the token limit.
        own_prompt: whether the teacher got the prompt that it was trained with, whose format is `<think>…</think>`. Otherwise
            the format is `<reasoning>…</reasoning>`, and anything that a teacher thinks before it is left out.
    """
    text = text.encode(errors="replace").decode().replace("\r\n", "\n")  # half of a surrogate pair cannot be written
    if own_prompt:
        found = parse(text, truncated=truncated)
    else:
        written = text.rpartition(_THOUGHT)[2]
        if written.count(_OPENS) != 1 or written.count(_CLOSES) != 1:
            return Answer(None, None, well_formed=False)
        tagged = written.replace(_OPENS, "<think>").replace(_CLOSES, _THOUGHT)
        found = parse(tagged, opened_think=False, truncated=truncated)
    return Answer(found.trace, found.code, found.well_formed and _CONTROL.search(text) is None)
