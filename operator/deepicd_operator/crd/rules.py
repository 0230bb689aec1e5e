"""The API server's CEL rules, from the models: those across fields, of the keys of maps, and of what cannot change."""

from __future__ import annotations

from typing import Any

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import FixedField, fixed_fields
from deepicd.spec.rules import literal
from deepicd.spec.run import DeepICDRun, RunSpec

Rules = list[dict[str, str]]


def rules_of(model: type[Any]) -> Rules:
    """The rules of a model, those that CEL can say."""
    rules = model.rules if issubclass(model, SpecModel) else ()
    return [rule.to_crd() for rule in rules if rule.cel]


def key_rule(pattern: str) -> dict[str, str]:
    """The rule of a map whose keys match a pattern: a structural schema has none for keys."""
    return {"rule": f"self.all(key, key.matches({literal(pattern)}))", "message": f"a key does not match {pattern}"}


def run_rules() -> Rules:
    """The rules of the whole object, with those of a change."""
    return [*rules_of(DeepICDRun), *map(_fixed, fixed_fields(RunSpec, "spec"))]


def _fixed(field: FixedField) -> dict[str, str]:
    """What an attempt was made from stays as it is."""
    same = f"self.{field.path} == oldSelf.{field.path}"
    if field.optional:
        same = f"has(self.{field.path}) == has(oldSelf.{field.path}) && (!has(self.{field.path}) || {same})"
    if field.presence:
        same = f"has(self.{field.path}) == has(oldSelf.{field.path})"
    either = [f"!has({run}.{optional})" for optional in field.sections for run in ("self", "oldSelf")]
    return {
        "rule": " || ".join(["oldSelf.?status.attempt.orValue(0) == 0", *either, same]),
        "fieldPath": f".{field.path}",
        "message": "cannot change once the run has started: undo the change, or give the run another name",
    }
