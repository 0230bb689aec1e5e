"""The strict base model and the unit types of run.yaml."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from datetime import timedelta
from types import UnionType
from typing import Annotated, Any, ClassVar, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationInfo, field_validator, model_validator
from pydantic.alias_generators import to_camel
from pydantic.functional_validators import BeforeValidator
from pydantic.json_schema import WithJsonSchema
from pydantic_core import PydanticCustomError, PydanticKnownError

from deepicd.spec.rules import Rule

# Every duration is shorter than thirty years: a date and a duration always add up.
_DURATION_TEXT = "([0-9]{1,9}s|[0-9]{1,7}m|[0-9]{1,5}h|[0-9]{1,4}d)"
_DURATION = re.compile(_DURATION_TEXT)
_TIME_LIMIT_TEXT = "([1-9][0-9]{0,8}s|[1-9][0-9]{0,6}m|[1-9][0-9]{0,4}h|[1-9][0-9]{0,3}d)"
_TIME_LIMIT = re.compile(_TIME_LIMIT_TEXT)
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SIZE = re.compile(r"([0-9]+)(Ki|Mi|Gi|Ti)")
_SIZE_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_duration(value: object) -> timedelta:
    """Parse `90s`, `30m`, `2h` or `1d`.

    Raises:
        ValueError: the value is not a whole number followed by one of the four units.
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a duration is a whole number and a unit: 90s, 30m, 2h or 1d")
    return timedelta(seconds=int(match[1][:-1]) * _DURATION_UNITS[match[1][-1]])


def parse_time_limit(value: object) -> timedelta:
    """Parse a duration that is more than 0 and begins with no 0.

    Raises:
        ValueError: it is 0, or no duration.
    """
    found = parse_duration(value)
    if found <= timedelta(0) or (isinstance(value, str) and not _TIME_LIMIT.fullmatch(value)):
        raise ValueError("must be more than 0, without a 0 in front, as 90s, 30m, 2h or 1d")
    return found


def format_duration(value: timedelta) -> str:
    """Write a duration in the largest unit that leaves a whole number."""
    seconds = int(value.total_seconds())
    for unit in ("d", "h", "m"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{seconds // _DURATION_UNITS[unit]}{unit}"
    return f"{seconds}s"


def parse_size(value: object) -> int:
    """Parse `512Mi`, `64Gi`, … into bytes.

    Raises:
        ValueError: the value is not a whole number followed by a binary unit.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError("a size is a whole number and a binary unit: 512Mi, 64Gi or 2Ti")
    return int(match[1]) * _SIZE_UNITS[match[2]]


def format_size(value: int) -> str:
    """Write a number of bytes in the largest binary unit that leaves a whole number."""
    for unit in ("Ti", "Gi", "Mi"):
        if value and value % _SIZE_UNITS[unit] == 0:
            return f"{value // _SIZE_UNITS[unit]}{unit}"
    return f"{value // 1024}Ki"


def _text(parse: Callable[[object], Any], show: Callable[[Any], str], pattern: str) -> tuple[Any, ...]:
    return (
        BeforeValidator(parse),
        PlainSerializer(show, return_type=str),
        WithJsonSchema({"type": "string", "pattern": f"^{pattern}$"}),
    )


Duration = Annotated[timedelta, *_text(parse_duration, format_duration, _DURATION_TEXT)]
"""A time span in run.yaml: `90s`, `30m`, `2h`, `1d`."""

TimeLimit = Annotated[timedelta, *_text(parse_time_limit, format_duration, _TIME_LIMIT_TEXT)]
"""A time span after which something ends: more than 0."""

Size = Annotated[int, *_text(parse_size, format_size, "[0-9]+(Ki|Mi|Gi|Ti)")]
"""A number of bytes in run.yaml: `512Mi`, `64Gi`."""


RULE = "rule"
"""Type of pydantic's error for broken rules; their messages are `broken` in its context."""
UNKNOWN_FIELD = "unknown_field"
"""Type of pydantic's error for an unknown field."""


def _kinds(annotation: Any) -> frozenset[Any]:
    """The types in a field's annotation, such as `int | None`."""
    inner = get_args(annotation)
    if get_origin(annotation) is Annotated:
        return _kinds(inner[0])
    return (
        frozenset((annotation,)) if get_origin(annotation) not in (Union, UnionType) else frozenset().union(*map(_kinds, inner))
    )


class SpecModel(BaseModel):
    """A part of run.yaml: camelCase, frozen, and an unknown field is an error that suggests the nearest known name."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    """Conditions across the fields."""

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_fields(cls, value: Any) -> Any:
        if isinstance(value, dict):
            known = {field.alias or name for name, field in cls.model_fields.items()} | set(cls.model_fields)
            for key in value:
                if key not in known:
                    near = difflib.get_close_matches(str(key), known, n=1, cutoff=0.6)
                    shown = sorted(field.alias or name for name, field in cls.model_fields.items())
                    text = f"unknown field {str(key)!r}"
                    text += f": did you mean '{near[0]}'?" if near else f": known fields are {', '.join(shown)}"
                    raise PydanticCustomError(UNKNOWN_FIELD, "{text}", {"text": text})
        return value

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML reads `yes` as true, which pydantic would take for 1; the API server refuses it."""
        if isinstance(value, bool) and info.field_name is not None:
            kinds = _kinds(cls.model_fields[info.field_name].annotation)
            if bool not in kinds and not kinds.isdisjoint((int, float)):
                raise PydanticKnownError("int_type" if int in kinds else "float_type")
        return value

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        if broken := [message for rule in self.rules if (message := rule.found(self)) is not None]:
            raise PydanticCustomError(RULE, "{text}", {"text": "; ".join(broken), "broken": broken})
        return self


__all__ = [
    "Duration",
    "Field",
    "Size",
    "SpecModel",
    "TimeLimit",
    "format_duration",
    "format_size",
    "parse_duration",
    "parse_size",
]
