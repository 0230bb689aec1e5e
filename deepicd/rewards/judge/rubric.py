"""The judge's questions, as a YAML file: `version`, `instructions`, `criteria`, and the user's `guidelines` by chapter."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from deepicd.errors import UserError
from deepicd.spec.base import SpecModel
from deepicd.spec.judge import DEFAULT_RUBRIC
from deepicd.spec.load import read_part
from deepicd.spec.reward import TERM_PATTERN

_DEFAULT = Path(__file__).with_name("default.yaml")


class Criterion(SpecModel):
    """One question. Each asks for one thing."""

    name: str = Field(pattern=TERM_PATTERN)
    """Its name in verdicts."""
    question: str = Field(min_length=1, max_length=1000)
    """Answered with yes or no."""
    negative: bool = False
    """Whether no is the good answer."""
    weight: float = Field(default=1, gt=0, le=1e6)
    """Its share of the term."""


class Rubric(SpecModel):
    """What the judge is asked about a completion."""

    version: str = Field(min_length=1, max_length=64)
    """Names the text; shown in the report."""
    instructions: str = Field(min_length=1, max_length=8000)
    """What the judge gets and does."""
    criteria: tuple[Criterion, ...] = Field(min_length=1, max_length=32)
    """The questions, in the order of verdicts."""
    guidelines: dict[Annotated[int, Field(ge=1, le=22)], Annotated[str, Field(max_length=8000)]] = Field(default={})
    """Coding guideline of a chapter, by its number; shown with gold codes of the chapter."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the criteria."""
        return tuple(criterion.name for criterion in self.criteria)

    @cached_property
    def verdict_schema(self) -> Mapping[str, Any]:
        """JSON Schema of a verdict: an object with true or false for each criterion, and nothing else."""
        return {
            "type": "object",
            "properties": {name: {"type": "boolean"} for name in self.names},
            "required": list(self.names),
            "additionalProperties": False,
        }

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, as it decides a run's result."""
        return sha256(self.model_dump_json().encode()).hexdigest()

    def score(self, verdict: Sequence[bool]) -> float:
        """The weighted share of good answers, in [0, 1]; `verdict` is in the order of the criteria."""
        good = sum(
            criterion.weight for criterion, answer in zip(self.criteria, verdict, strict=True) if answer != criterion.negative
        )
        return good / sum(criterion.weight for criterion in self.criteria)


def load_rubric(rubric: str) -> Rubric:
    """The rubric `default`, or that of a file.

    Raises:
        UserError: the file is missing or is not a rubric; the message names the field.
    """
    path = _DEFAULT if rubric == DEFAULT_RUBRIC else Path(rubric)
    found = read_part(path, Rubric, "rubric file")
    twice = sorted({name for name in found.names if found.names.count(name) > 1})
    if twice:
        raise UserError(f"{path}: criteria: {twice[0]} occurs twice: give each criterion its own name")
    return found


def to_verdict(rubric: Rubric, text: str) -> tuple[bool, ...]:
    """The judge's answers, in the order of the criteria.

    Raises:
        ValueError: the text is anything but one JSON object with true or false for each criterion. The message has none of it.
    """
    pairs = json.loads(text, object_pairs_hook=_Pairs)
    answers = dict(pairs) if isinstance(pairs, _Pairs) else {}
    if not isinstance(pairs, _Pairs) or len(answers) != len(pairs) or set(answers) != set(rubric.names):
        raise ValueError("is not an object that has each criterion once")
    if not all(isinstance(answer, bool) for answer in answers.values()):
        raise ValueError("has an answer that is neither true nor false")
    return tuple(answers[name] for name in rubric.names)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with repeated keys kept: of two answers to a question none counts."""
