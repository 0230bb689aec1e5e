"""Rules across the fields of a model. Each is written once: as a check with its message, and as CEL for the API server.

A field is named as in run.yaml, relative to the model that has the rule: `scratch.storageClass`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from pydantic import BaseModel


@dataclass(frozen=True)
class Rule:
    """A condition that a model must meet."""

    message: str
    """`<field>: <finding>: <remedy>`, the same here and from the API server."""
    cel: str
    """The same condition for the API server; empty if CEL cannot express it."""
    holds: Callable[[Any], bool]
    """Whether it holds for a model. A rule of `python_only` raises ValueError instead, with its own message."""
    shown: tuple[str, ...] = ()
    """Fields whose values follow the message in Python; in CEL the cost of a text with a number has no bound."""

    def found(self, model: BaseModel) -> str | None:
        """What is wrong with a model, or None."""
        try:
            if self.holds(model):
                return None
        except ValueError as error:
            return str(error)
        got = ", ".join(f"{field} {literal(value_of(model, field))}" for field in self.shown)
        return f"{self.message} (got {got})" if got else self.message

    def to_crd(self) -> dict[str, str]:
        """The rule as a CustomResourceDefinition has it."""
        return {"rule": self.cel, "message": self.message}


def value_of(model: Any, path: str) -> Any:
    """The value of a field, None if it, or a section that contains it, is left out."""
    for part in path.split("."):
        if model is None:
            return None
        model = getattr(model, _names(model.__class__)[part])
    return model


@cache
def _names(model: type[BaseModel]) -> Mapping[str, str]:
    return {field.alias or name: name for name, field in model.model_fields.items()}


def given(*fields: str, message: str = "") -> Rule:
    """At least one of the fields is given."""
    return Rule(message, " || ".join(map(_has, fields)), lambda model: _count(model, fields) > 0)


def exactly_one(*fields: str) -> Rule:
    """One of the fields is given, and no other."""
    counted = " + ".join(f"({_has(field)} ? 1 : 0)" for field in fields)
    return Rule(f"give exactly one of {', '.join(fields)}", f"{counted} == 1", lambda model: _count(model, fields) == 1)


def equals(field: str, value: str | int) -> Rule:
    """The field has this value."""
    return Rule("", f"{_has(field)} && self.{field} == {literal(value)}", lambda model: value_of(model, field) == value)


def at_default(field: str, default: BaseModel | Mapping[str, Any]) -> Rule:
    """A section has its default values, or a map, `{}`, is empty."""
    if isinstance(default, BaseModel):
        values = default.model_dump(mode="json", by_alias=True)
        cel = " && ".join(f"self.{field}.{name} == {literal(value)}" for name, value in values.items())
    else:
        cel = f"size(self.{field}) == 0"
    return Rule("", cel, lambda model: value_of(model, field) == default)


def at_least(field: str, other: str, message: str, *, sizes: bool = False) -> Rule:
    """The field is not less than the other, or than a sum as `other + third`, where all are given; `sizes`: as `64Gi`."""
    parts = other.split(" + ")
    total = " + ".join(f"self.{part}" for part in parts)
    more = f"quantity(self.{field}).compareTo(quantity({total})) >= 0" if sizes else f"self.{field} >= {total}"

    def holds(model: BaseModel) -> bool:
        found, *least = (value_of(model, name) for name in (field, *parts))
        return found is None or None in least or bool(found >= sum(least))

    missing = " || ".join(f"!{_has(name)}" for name in (field, *parts))
    return Rule(message, f"{missing} || {more}", holds, () if sizes else (field, *parts))


def multiple_of(product: str, of: str) -> Rule:
    """A field, or a product as `field × other`, is a multiple of the other one; whole numbers."""
    sides = product.split(" × "), of.split(" × ")
    dividend, divisor = (" * ".join(f"self.{field}" for field in side) for side in sides)

    def holds(model: BaseModel) -> bool:
        number, unit = (math.prod(value_of(model, field) for field in side) for side in sides)
        return bool(number % unit == 0)

    message = f"{product} is not a multiple of {of}"
    return Rule(message, f"({dividend}) % ({divisor}) == 0", holds, (*sides[0], *sides[1]))


def at_most(product: str, limit: int, message: str) -> Rule:
    """A product as `field × other` of whole numbers is not above the limit."""
    fields = product.split(" × ")

    def holds(model: BaseModel) -> bool:
        return bool(math.prod(value_of(model, field) for field in fields) <= limit)

    return Rule(message, f"{' * '.join(f'self.{field}' for field in fields)} <= {limit}", holds, tuple(fields))


def divides(field: str, other: str, into: Iterable[int], message: str) -> Rule:
    """The field divides the other one, both whole numbers, into one of these."""
    parts = tuple(into)
    cel = f"self.{other} % self.{field} == 0 && (self.{other} / self.{field}) in {list(parts)}"

    def holds(model: BaseModel) -> bool:
        quotient, rest = divmod(value_of(model, other), value_of(model, field))
        return rest == 0 and quotient in parts

    return Rule(message, cel, holds, (field, other))


def matches(field: str, pattern: str, message: str = "") -> Rule:
    """A text matches a pattern, which must be RE2 and match the whole text: `^…$`."""
    checked = re.compile(pattern)
    return Rule(
        message,
        f"self.{field}.matches({literal(pattern)})",
        lambda model: checked.fullmatch(value_of(model, field)) is not None,
        (field,),
    )


def contains(field: str, text: str, message: str = "", *, times: int | None = None) -> Rule:
    """The field is given and has the text in it; `times`: exactly this often."""
    found = f"contains({literal(text)})" if times is None else f"split({literal(text)}).size() == {times + 1}"

    def holds(model: BaseModel) -> bool:
        count = (value_of(model, field) or "").count(text)
        return count > 0 if times is None else count == times

    return Rule(message, f"{_has(field)} && self.{field}.{found}", holds)


def adds_up(*fields: str, to: float, message: str) -> Rule:
    """The sum of the fields is this, up to a millionth."""
    total, low, high = " + ".join(f"self.{field}" for field in fields), to - 1e-6, to + 1e-6
    cel = f"{total} > {low} && {total} < {high}"
    return Rule(message, cel, lambda model: low < sum(value_of(model, field) for field in fields) < high)


def never(rule: Rule, message: str = "") -> Rule:
    """The rule does not hold."""
    return Rule(message, f"!({rule.cel})", lambda model: not rule.holds(model))


def either(*rules: Rule, message: str) -> Rule:
    """One of the rules holds. They are tried in order, and only up to the first that holds."""
    return Rule(message, " || ".join(f"({rule.cel})" for rule in rules), lambda model: any(rule.holds(model) for rule in rules))


def requires(field: str, rule: Rule, message: str = "") -> Rule:
    """Where the field is given, the rule holds."""
    return replace(either(never(given(field)), rule, message=message or rule.message), shown=rule.shown)


def unless_given(field: str, rule: Rule) -> Rule:
    """Where the field is not given, the rule holds."""
    return replace(either(given(field), rule, message=rule.message), shown=rule.shown)


def read_by_field(cel: str, message: str) -> Rule:
    """A rule that a validator of the field itself checks here, because it also completes the value."""
    return Rule(message, cel, lambda model: True)


def python_only(place: str, check: Callable[[Any], object]) -> Rule:
    """A rule beyond CEL: `check` raises ValueError; its message follows `place`. On a cluster the operator checks it."""

    def holds(model: BaseModel) -> bool:
        try:
            check(model)
        except ValueError as error:
            raise ValueError(f"{place}{error}") from None
        return True

    return Rule("", "", holds)


def _has(field: str) -> str:
    return f"has(self.{field})"


def _count(model: BaseModel, fields: Iterable[str]) -> int:
    return sum(value_of(model, field) is not None for field in fields)


def literal(value: Any) -> str:
    """A text, number or list in CEL."""
    return json.dumps(value, ensure_ascii=False)
