"""Specs generated from the CRD: samples with values changed anywhere, at and beyond their bounds."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml
from hypothesis import strategies as st

from deepicd_operator.crd import crd
from tests.cluster.api import Raw
from tests.cluster.runs import SAMPLES

Path = tuple[str | int, ...]
_TEXTS = (
    "",
    "a",
    "A b",
    "a.b/c",
    "30m",
    "0s",
    "99999d",
    "64Gi",
    "0Gi",
    "/x",
    "https://h:1",
    "-",
    "ä",
    "a\n",
    "a/../b",
    "x-Y_z",
)
_SAMPLES: list[Raw] = [yaml.safe_load(path.read_text()) for path in SAMPLES]
_OBJECTS: tuple[Any, ...] = ({}, [], "x", {"a": "b"}, {"A b": "c"}, {"a": 1}, {"outcome": 2}, {"unknownField": 1})


def places() -> Iterator[tuple[Path, Raw]]:
    """Every field of the spec with its schema; in lists the first item."""
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    yield from _below(("spec",), schema["properties"]["spec"])


@cache
def changes() -> st.SearchStrategy[tuple[Path, Any]]:
    """A place of the spec and a value for it, valid or not. No nulls: what they mean differs (see `test_crd.py`)."""
    return st.sampled_from([(path, value) for path, schema in places() for value in _values(schema)])


@st.composite
def contents(draw: st.DrawFn) -> Raw:
    """A run.yaml with up to four changes."""
    content = copy.deepcopy(draw(st.sampled_from(_SAMPLES)))
    for path, value in draw(st.lists(changes(), min_size=1, max_size=4)):
        _put(content, path, copy.deepcopy(value))
    return content


def _below(path: Path, schema: Raw) -> Iterator[tuple[Path, Raw]]:
    for name, inner in schema.get("properties", {}).items():
        yield (*path, name), inner
        yield from _below((*path, name), inner)
    if "items" in schema:
        yield (*path, 0), schema["items"]
        yield from _below((*path, 0), schema["items"])


def _values(schema: Raw) -> tuple[Any, ...]:
    if "enum" in schema:
        return (*schema["enum"], "other")
    if schema["type"] in ("integer", "number"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 100)
        fractions = (0.1, 0.5, 1e-6) if schema["type"] == "number" else (1.5,)
        return (low, low - 1, high, high + 1, 1, 2, 3, 4, 8, 16, 64, *fractions, "x", [])
    if schema["type"] == "boolean":
        return (True, False, "x")
    if schema["type"] == "string":
        return (*_TEXTS, "x" * min(schema["maxLength"] + 1, 1000), [], {})
    return ([], {}, [{}], ["a"], ["A b"]) if schema["type"] == "array" else _OBJECTS


def _put(content: Raw, path: Path, value: Any) -> None:
    """Set a value, unless an earlier change removed its parent."""
    place: Any = content
    for part, following in zip(path, (*path[1:], None), strict=True):
        fits = isinstance(place, list) if isinstance(part, int) else isinstance(place, dict)
        if not fits:
            return
        if isinstance(part, int) and not place:
            place.append(None)
        if following is None:
            place[part] = value
            return
        if isinstance(part, str):
            place.setdefault(part, None)
        if place[part] is None:
            place[part] = [] if isinstance(following, int) else {}
        place = place[part]
