"""CEL rules for the API server, from the models: rules across fields, for keys of maps, and for fields that cannot change."""

from __future__ import annotations

from typing import Any

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import FixedField, fixed_fields
from deepicd.spec.rules import literal
from deepicd.spec.run import DeepICDRun, RunSpec

Rules = list[dict[str, str]]


def rules_of(model: type[Any]) -> Rules:
    """Return the rules of a model that CEL can express."""
    rules = model.rules if issubclass(model, SpecModel) else ()
    return [rule.to_crd() for rule in rules if rule.cel]


def key_rule(pattern: str) -> dict[str, str]:
    """Return the rule for a map whose keys match a pattern, which a structural schema cannot express."""
    return {"rule": f"self.all(key, key.matches({literal(pattern)}))", "message": f"a key does not match {pattern}"}


def run_rules() -> Rules:
    """Return the rules of the whole object, including those for changes."""
    return [*rules_of(DeepICDRun), *map(_fixed, fixed_fields(RunSpec, "spec"))]


def _fixed(field: FixedField) -> dict[str, str]:
    """Return the rule that keeps a field as it was when the first attempt started."""
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
