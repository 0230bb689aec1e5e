"""The judge that the options of `deepicd judge` describe, and its errors in their names: such a judge is in no run.yaml."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from deepicd.errors import JudgeError, UserError
from deepicd.spec.judge import JudgeSpec
from deepicd.spec.wording import expected

OPTIONS = {
    "endpoint": "--endpoint",
    "name": "--name",
    "apiKey": "--key-env",
    "dataUse": "--data-use",
    "rubric": "--rubric",
    "timeout": "--timeout",
    "maxFailures": "--max-failures",
}
"""By fields of `reward.judge`."""
_FIELD = re.compile(rf"reward\.judge(?:\.({'|'.join(OPTIONS)}))?\b|\b(apiKey|dataUse|maxFailures)\b|^(endpoint|name)(?=: )")
_OF_A_RUN = {
    "or lower stages.grpo.maxPromptTokens": "or shorten the notes",
    "then run again to resume": "then run again",
}
"""Remedies that only a run has, and those here."""


def from_options(fields: Mapping[str, Any]) -> JudgeSpec:
    """The judge with these fields of `reward.judge`, as run.yaml spells them.

    Raises:
        UserError: a value is wrong; the message names its option.
    """
    try:
        return JudgeSpec.model_validate(fields)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        problem = in_options(expected(first))
        raise UserError(f"{OPTIONS[str(first['loc'][0])]}: {problem}" if first["loc"] else problem) from None


@contextmanager
def errors_in_options() -> Iterator[None]:
    """Have errors of the judge name options instead of fields."""
    try:
        yield
    except UserError as error:
        raise UserError(*map(in_options, error.problems)) from None
    except JudgeError as error:
        raise JudgeError(in_options(str(error))) from None


def in_options(message: str) -> str:
    """A message with options instead of fields; `reward.judge` alone is the server's address."""
    for theirs, ours in _OF_A_RUN.items():
        message = message.replace(theirs, ours)
    return _FIELD.sub(lambda found: OPTIONS[found[1] or found[2] or found[3] or "endpoint"], message)
