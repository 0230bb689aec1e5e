"""The ValidatingAdmissionPolicy: the author of a run must have rights to the Secrets and ServiceAccounts that it names.

The operator acts for all users and cannot know who wrote a run. The API server knows it during admission.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deepicd.spec.resource_names import GROUP, PLURAL
from deepicd_operator.references import SECRETS, SERVICE_ACCOUNTS

MAX_NAMES = 8
"""Names that one write may add, for a user who has rights by name. CEL's cost budget allows 28 authorization checks."""


@dataclass(frozen=True)
class _Checked:
    """Names of one kind: the fields that hold them, and the right that their author needs."""

    kind: str
    resource: str
    verb: str
    paths: tuple[str, ...]
    slots: int
    allowed: str
    """Name of the chart's list: both the value and the policy variable that the chart adds."""


# A user who may impersonate a ServiceAccount already has all of its rights, which are those of a pod that uses it.
_KINDS = (
    _Checked("Secret", "secrets", "get", SECRETS, MAX_NAMES, "allowedSecrets"),
    _Checked(
        "ServiceAccount", "serviceaccounts", "impersonate", SERVICE_ACCOUNTS, len(SERVICE_ACCOUNTS), "allowedServiceAccounts"
    ),
)


def policy_spec() -> dict[str, Any]:
    """Return the policy's spec. The chart prepends the variables `allowedSecrets` and `allowedServiceAccounts`."""
    rule = {"apiGroups": [GROUP], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [PLURAL]}
    return {
        "failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [rule]},
        "variables": [variable for kind in _KINDS for variable in _variables(kind)],
        "validations": [validation for kind in _KINDS for validation in _validations(kind)],
    }


def _variables(kind: _Checked) -> Iterator[dict[str, str]]:
    def variable(name: str, expression: str) -> dict[str, str]:
        return {"name": name, "expression": expression}

    fields = [_field(kind, number) for number in range(len(kind.paths))]
    for field, path in zip(fields, kind.paths, strict=True):
        yield variable(field, _names("object.spec", path))
    before = " + ".join(_names("oldObject.spec", path) for path in kind.paths)
    yield variable(f"{kind.resource}Before", f"request.operation == 'CREATE' ? [] : {before}")
    added = " + ".join(f"variables.{field}" for field in fields)
    known = f"name in variables.{kind.allowed} || name in variables.{kind.resource}Before"
    yield variable(_rest(kind, 0), f"({added}).filter(name, !({known}))")
    for number in range(kind.slots):
        left = f"variables.{_rest(kind, number)}"
        yield variable(_rest(kind, number + 1), f"{left}.filter(name, name != {left}[0])")
    # One check is enough for most users; for the others each name is checked.
    yield variable(f"{kind.resource}All", f"size(variables.{_rest(kind, 0)}) > 0 && {_may(kind, None)}")


def _validations(kind: _Checked) -> Iterator[dict[str, str]]:
    for number in range(kind.slots):
        left = f"variables.{_rest(kind, number)}"
        yield {
            "expression": f"size({left}) == 0 || variables.{kind.resource}All || {_may(kind, f'{left}[0]')}",
            "reason": "Forbidden",
            "messageExpression": _message(kind, f"{left}[0]"),
        }
    yield {
        "expression": f"size(variables.{_rest(kind, kind.slots)}) == 0 || variables.{kind.resource}All",
        "reason": "Forbidden",
        "message": f"spec: names more than {kind.slots} {kind.kind}s: "
        f"name fewer, or get the right to {kind.verb} all {kind.kind}s of the namespace",
    }


def _message(kind: _Checked, name: str) -> str:
    fields: Sequence[str] = [f"spec.{path}" for path in kind.paths]
    place = f"'{fields[-1]}'"
    for number in reversed(range(len(fields) - 1)):
        place = f"{name} in variables.{_field(kind, number)} ? '{fields[number]}' : {place}"
    return (
        f"({place}) + ': {kind.kind} ' + {name} + ': ' + request.userInfo.username + "
        f"' may not {kind.verb} it: get a Role with that right, or have the name added to runs.{kind.allowed} "
        "of the operator chart'"
    )


def _may(kind: _Checked, name: str | None) -> str:
    named = "" if name is None else f".name({name})"
    asked = f"authorizer.group('').resource('{kind.resource}').namespace(request.namespace){named}"
    return f"{asked}.check('{kind.verb}').allowed()"


def _names(root: str, path: str) -> str:
    """Return CEL for the list of names at a path. A field may be missing or null at every level."""
    head, is_list, rest = path.partition("[]")
    place, guards = root, []
    for part in head.split("."):
        place += f".{part}"
        guards += [f"has({place})", f"{place} != null"]
    found = f"({' && '.join(guards)} ? {place if is_list else f'[{place}]'} : [])"
    for part in rest.split(".")[1:]:
        found += f".map(item, has(item.{part}) && item.{part} != null, item.{part})"
    return found


def _field(kind: _Checked, number: int) -> str:
    return f"{kind.resource}Field{number}"


def _rest(kind: _Checked, number: int) -> str:
    return f"{kind.resource}Left{number}"
