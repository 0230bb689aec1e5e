"""What a value must be, in words, for a field or an option that has a wrong one."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from typing import Any

_WORDS: dict[str, str] = {}
"""Words for the patterns of texts, by pattern."""


def pattern(regex: str, words: str) -> str:
    """The pattern, for which a message says that the text must be `words`."""
    _WORDS[regex] = words
    return regex


_TYPES = {
    "string": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list, such as [a, b]",
    "tuple": "a list, such as [a, b]",
    "dict": "a map, such as {name: value}",
    "model": "a map, such as {name: value}",
    "is_instance_of": "a map, such as {name: value}",
}
_SCALAR = str | int | float | bool
_LONGEST = 64
"""Characters of a value that a message shows."""
_BOUNDS = {
    "greater_than_equal": ("ge", "at least"),
    "greater_than": ("gt", "more than"),
    "less_than_equal": ("le", "at most"),
    "less_than": ("lt", "less than"),
    "multiple_of": ("multiple_of", "a multiple of"),
}


def expected(error: Mapping[str, Any]) -> str:
    """What an error of pydantic asks for, such as `must be a whole number (got "x")`.

    Args:
        error: one of `ValidationError.errors()`.
    """
    kind, context, found = error["type"], error.get("ctx") or {}, error["input"]
    if kind == "missing":
        return "is required"
    got = _got(found)
    if kind == "value_error":
        return f"{context['error']}{got if isinstance(found, _SCALAR) else ''}"
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"must be {words} {context[name]:g}{got}"
    if kind in ("literal_error", "enum"):
        return _one_of(context["expected"], found, got)
    if kind == "string_pattern_mismatch":
        return f"must be {_WORDS[context['pattern']]}{got}"
    if kind in ("string_too_short", "too_short"):
        return "must not be empty"
    if kind == "string_too_long":
        return f"has {len(found)} characters, over {context['max_length']}: shorten it"
    if kind == "too_long":
        return f"has {context['actual_length'] or 'too many'} entries: give at most {context['max_length']}"
    if kind == "finite_number":
        return f"must be a finite number{got}"
    words = next((words for name, words in _TYPES.items() if kind.startswith(f"{name}_")), None)
    if words is None:  # one of our own, such as an unknown field
        return str(error["msg"])
    hint = ": put it in quotes" if kind == "string_type" and isinstance(found, int | float) else ""
    return f"must be {words}{got}{hint}"


def _got(found: Any) -> str:
    if found is None:
        return " (it is empty)"
    if isinstance(found, _SCALAR):
        shown = json.dumps(found, ensure_ascii=False)
        return f" (got {shown if len(shown) <= _LONGEST else shown[:_LONGEST] + '…'})"
    return " (got a map)" if isinstance(found, Mapping) else " (got a list)" if isinstance(found, list | tuple) else ""


def _one_of(choices: str, found: Any, got: str) -> str:
    """`choices`: as pydantic writes them, `'a', 'b' or 'c'`."""
    names = [part.strip("'") for part in choices.replace(" or ", ", ").split(", ")]
    *others, last = names
    allowed = f"{', '.join(others)} or {last}" if others else last
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.6) if isinstance(found, str) else []
    return f"must be {allowed}{got}" + (f": did you mean '{near[0]}'?" if near else "")
