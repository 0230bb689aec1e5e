"""What a value must be, in words, for a field or an option that has a wrong one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

_WORDS: dict[str, str] = {}
"""Words for the patterns of texts, by pattern."""


def pattern(regex: str, words: str) -> str:
    """The pattern, for which a message says that the text must be `words`."""
    _WORDS[regex] = words
    return regex


_SCALAR = str | int | float | bool
_LONGEST = 64
"""Characters of a value that a message shows."""


def expected(error: Mapping[str, Any]) -> str:
    """What an error of pydantic asks for, such as `must be a whole number (got "x")`.

    Args:
        error: one of `ValidationError.errors()`.
    """
    kind, context, found = error["type"], error.get("ctx") or {}, error["input"]
    asked = _ASKED.get(kind) or next((words for name, words in _TYPES.items() if kind.startswith(f"{name}_")), None)
    if kind == "value_error":
        words = str(context["error"]).rstrip(".")
        return words if repr(found) in words or not isinstance(found, _SCALAR) else f"{words}{_got(found)}"
    if asked is None:  # one of our own, such as an unknown field
        return str(error["msg"])
    words = asked if isinstance(asked, str) else asked(context)
    near = _nearest(context["expected"], found) if kind in _CHOICES else ""
    hint = ": put it in quotes" if kind == "string_type" and isinstance(found, int | float) else near
    return f"{words}{_got(found)}{hint}" if words.startswith("must be") else words


def _got(found: Any) -> str:
    if found is None:
        return " (it is empty)"
    if isinstance(found, _SCALAR):
        shown = json.dumps(found, ensure_ascii=False)
        return f" (got {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '…'})"
    return " (got a map)" if isinstance(found, Mapping) else " (got a list)" if isinstance(found, list | tuple) else ""


def _choices(expected: str) -> list[str]:
    """`expected`: as pydantic writes them, `'a', 'b' or 'c'`."""
    return [part.strip("'") for part in expected.replace(" or ", ", ").split(", ")]


def _one_of(context: Mapping[str, Any]) -> str:
    *others, last = _choices(context["expected"])
    return f"must be {', '.join(others)} or {last}" if others else f"must be {last}"


def _nearest(expected: str, found: Any) -> str:
    near = difflib.get_close_matches(found, _choices(expected), n=1, cutoff=0.6) if isinstance(found, str) else []
    return f": did you mean '{near[0]}'?" if near else ""


def _at_least(characters: int) -> str:
    return "must not be empty" if characters == 1 else f"must have at least {characters} characters"


_TYPES = {
    "string": "must be text",
    "int": "must be a whole number",
    "float": "must be a number",
    "bool": "must be true or false",
    "list": "must be a list, such as [a, b]",
    "tuple": "must be a list, such as [a, b]",
    "dict": "must be a map, such as {name: value}",
    "model": "must be a map, such as {name: value}",
}
"""What values of a type must be, by the beginning of the error's type."""
_CHOICES = ("literal_error", "enum")
_ASKED: Mapping[str, str | Callable[[Mapping[str, Any]], str]] = {
    "missing": "is required",
    "finite_number": "must be a finite number",
    "greater_than_equal": lambda context: f"must be at least {context['ge']:g}",
    "greater_than": lambda context: f"must be more than {context['gt']:g}",
    "less_than_equal": lambda context: f"must be at most {context['le']:g}",
    "less_than": lambda context: f"must be less than {context['lt']:g}",
    "multiple_of": lambda context: f"must be a multiple of {context['multiple_of']:g}",
    "string_pattern_mismatch": lambda context: f"must be {_WORDS[context['pattern']]}",
    "string_too_short": lambda context: _at_least(context["min_length"]),
    "too_short": "must not be empty",
    "string_too_long": lambda context: f"has more than {context['max_length']} characters: shorten it",
    "too_long": lambda context: f"has more than {context['max_length']} entries: leave some out",
    **dict.fromkeys(_CHOICES, _one_of),
}
"""What is asked for, by the type of the error."""
