"""Fields in Kubernetes' own form: JSON values of a bounded size."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any

MAX_DEPTH = 50
MAX_VALUES = 10_000


def check_json(value: Any) -> None:
    """Raises: ValueError: it is nested too deep, too large, or not JSON; see `wrong`."""
    waiting: list[tuple[str, Any, int]] = [("", value, 1)]
    seen = 0
    while waiting:
        place, found, depth = waiting.pop()
        seen += 1
        if depth > MAX_DEPTH:
            raise wrong(place.partition(".")[0], f"is nested more than {MAX_DEPTH} deep", "make it flatter")
        if seen > MAX_VALUES:
            raise wrong(place.partition(".")[0], f"has more than {MAX_VALUES} values", "make it smaller")
        if isinstance(found, Mapping):
            for name, inner in found.items():
                if not isinstance(name, str):
                    raise wrong(below(place, str(name)), f"its name is {kind(name)}", "put it in quotes")
                waiting.append((below(place, name), inner, depth + 1))
        elif isinstance(found, list):
            waiting += [(below(place, str(number)), inner, depth + 1) for number, inner in enumerate(found)]
        elif not isinstance(found, (str, bool, int, float, type(None))) or (isinstance(found, float) and not isfinite(found)):
            raise wrong(place, f"is {kind(found)}", "give a text, a number, true or false, a list or a map")


def wrong(place: str, found: str, remedy: str) -> ValueError:
    """The error for a value in a field; `place`: its path below the field."""
    return ValueError(": ".join(part for part in (place, found, remedy) if part))


def below(place: str, name: str) -> str:
    """The path of something in the thing at `place`, on one line."""
    shown = " ".join(name.split())[:64]
    return f"{place}.{shown}" if place else shown


def kind(value: Any) -> str:
    """The name of a value's kind in a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, Mapping):
        return "a map"
    if isinstance(value, float) and not isfinite(value):
        return "not a finite number"
    names = {str: "a text", int: "a number", float: "a number", list: "a list"}
    return names.get(type(value), f"a {type(value).__name__}")
