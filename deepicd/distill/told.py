"""The rule `told`: a trace that shows that its writer was given the answer, or speaks about the task.

The patterns in told.yaml count anywhere. Words of the task count before the last sentence, which may say what the reasoning
codes to. `full code` does not count, nor do other words than `code` that the note has itself.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
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
    r"\b((?<!off )(?<!off-)(?<!no )label|title(?! of)|descriptor|(?:my|our|right|correct|final) answer|"
    r"the answer(?! (?:lies|to|may|might|depends))|instructed to)\b",
    re.IGNORECASE,
)
_NAME = re.compile(r"\{([A-Z_]+)\}")


def shows_that_it_was_told(trace: str, note: str) -> bool:
    """Whether a trace has a phrase of one who was given the answer, or a word of the task."""
    if any(pattern.search(trace) for pattern in kinds().values()):
        return True
    before = " ".join(sentences(trace)[:-1])
    words = {found.lower() for found in _TASK.findall(before)}
    return _CODE.search(before) is not None or not words <= {found.lower() for found in _TASK.findall(note)}


@cache
def kinds() -> Mapping[str, re.Pattern[str]]:
    """The patterns of told.yaml, by the name of their kind."""
    read: dict[str, Any] = yaml.safe_load(files("deepicd.distill").joinpath("told.yaml").read_text(encoding="utf-8"))
    words = read["words"]
    return {kind: re.compile(rf"\b{_any(patterns, words)}(?!\w)", re.IGNORECASE) for kind, patterns in read["kinds"].items()}


def _any(patterns: Sequence[str], words: Mapping[str, Sequence[str]]) -> str:
    """A group that matches one of the patterns."""
    return "(?:" + "|".join(_NAME.sub(lambda found: _any(words[found[1]], words), pattern) for pattern in patterns) + ")"
