from __future__ import annotations

from typing import Any

import pytest

from deepicd.spec.base import Field, SpecModel
from deepicd.spec.rules import (
    Rule,
    adds_up,
    at_default,
    at_least,
    at_most,
    divides,
    either,
    equals,
    exactly_one,
    given,
    matches,
    multiple_of,
    never,
    python_only,
    requires,
    unless_given,
)


class Part(SpecModel):
    width: int = 4


class Whole(SpecModel):
    name: str = "a"
    first: int | None = None
    second: int | None = None
    part_of_it: Part = Part()
    optional_part: Part | None = None
    labels: dict[str, str] = Field(default={})


def refuse(model: Any) -> None:
    raise ValueError("is wrong")


RULES: list[tuple[Rule, dict[str, Any], dict[str, Any]]] = [
    (given("first", "second"), {"second": 0}, {}),
    (exactly_one("first", "second"), {"first": 0}, {"first": 0, "second": 0}),
    (exactly_one("first", "second"), {"second": 0}, {}),
    (equals("first", 1), {"first": 1}, {}),
    (at_default("partOfIt", Part()), {}, {"partOfIt": {"width": 5}}),
    (at_default("labels", {}), {}, {"labels": {"a": "b"}}),
    (at_least("first", "second", "x"), {"first": 2, "second": 2}, {"first": 1, "second": 2}),
    (at_least("first", "second", "x"), {"second": 2}, {"first": 1, "second": 2}),
    (at_least("first", "second + partOfIt.width", "x"), {"first": 6, "second": 2}, {"first": 5, "second": 2}),
    (at_least("first", "second + partOfIt.width", "x"), {"first": 1}, {"first": 5, "second": 2}),
    (multiple_of("partOfIt.width", of="first"), {"first": 2}, {"first": 3}),
    (multiple_of("first × second", of="partOfIt.width"), {"first": 2, "second": 2}, {"first": 3, "second": 2}),
    (divides("first", "partOfIt.width", into=[2], message="x"), {"first": 2}, {"first": 1}),
    (divides("first", "partOfIt.width", into=[1], message="x"), {"first": 4}, {"first": 3}),
    (at_most("first × second", 6, "x"), {"first": 2, "second": 3}, {"first": 2, "second": 4}),
    (matches("name", "^[a-z]+$"), {"name": "abc"}, {"name": "abc\n"}),
    (adds_up("first", "second", to=3, message="x"), {"first": 1, "second": 2}, {"first": 2, "second": 2}),
    (never(given("first")), {}, {"first": 1}),
    (either(given("first"), given("second"), message="x"), {"second": 1}, {}),
    (requires("first", given("optionalPart.width")), {"first": 1, "optionalPart": {}}, {"first": 1}),
    (requires("first", given("second")), {}, {"first": 1}),
    (unless_given("second", multiple_of("partOfIt.width", of="first")), {"first": 3, "second": 1}, {"first": 3}),
]


@pytest.mark.parametrize(("rule", "good", "bad"), RULES, ids=lambda value: value.cel if isinstance(value, Rule) else "")
def test_a_rule_holds_or_says_what_is_wrong(rule: Rule, good: dict[str, Any], bad: dict[str, Any]) -> None:
    assert rule.found(Whole(**good)) is None
    assert rule.found(Whole(**bad)) is not None


def test_the_values_that_are_at_fault_follow_the_message() -> None:
    rule = multiple_of("first × second", of="partOfIt.width")
    assert rule.found(Whole(first=3, second=1)) == (
        "first × second is not a multiple of partOfIt.width (got first 3, second 1, partOfIt.width 4)"
    )
    assert rule.to_crd() == {
        "rule": "(self.first * self.second) % (self.partOfIt.width) == 0",
        "message": "first × second is not a multiple of partOfIt.width",
    }


def test_what_cel_cannot_express_is_only_for_python() -> None:
    rule = python_only("name: ", refuse)
    assert rule.found(Whole()) == "name: is wrong"
    assert rule.cel == ""


def test_every_broken_rule_of_a_model_is_reported() -> None:
    class Strict(Whole):
        rules = (given("first", message="no first: give it"), given("second", message="no second: give it"))

    with pytest.raises(ValueError, match="no first: give it; no second: give it"):
        Strict()
