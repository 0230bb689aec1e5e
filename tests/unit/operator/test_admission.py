from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from deepicd_operator.admission import policy_spec
from deepicd_operator.crd import crd
from deepicd_operator.references import SECRETS, SERVICE_ACCOUNTS, names_at


def fields(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    """Every string field of the spec, as a path in the form of `references`."""
    if schema["type"] == "string":
        yield path
    if schema["type"] == "array":
        yield from fields(schema["items"], f"{path}[]")
    for name, inner in schema.get("properties", {}).items():
        yield from fields(inner, f"{path}.{name}" if path else name)


def test_every_field_of_the_definition_that_names_a_secret_or_an_account_is_listed() -> None:
    schema = crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found = {path for path in fields(schema) if re.search("secret|serviceaccount", path, re.IGNORECASE)}
    # A folder of the pod, and the name of a key within a Secret.
    assert found - {"storage.s3.credentials.secretFolder", "compute.env[].secret.key"} == {*SECRETS, *SERVICE_ACCOUNTS}


def test_names_are_found_in_lists_and_despite_nulls_and_missing_fields() -> None:
    content = {"a": [{"b": {"c": "x"}}, {"b": None}, {}, {"b": {"c": None}}, {"b": {"c": "y"}}], "d": ["z"], "e": None}
    assert list(names_at("a[].b.c", content)) == ["x", "y"]
    assert list(names_at("d[]", content)) == ["z"]
    assert list(names_at("e.f", content)) == list(names_at("g[].h", content)) == []


def test_the_policy_uses_no_variable_before_its_definition() -> None:
    known = {"allowedSecrets", "allowedServiceAccounts"}
    spec = policy_spec()
    for variable in spec["variables"]:
        assert set(re.findall(r"variables\.(\w+)", variable["expression"])) <= known
        known.add(variable["name"])
    for validation in spec["validations"]:
        assert set(re.findall(r"variables\.(\w+)", str(validation))) <= known


def test_the_policy_applies_to_writes_of_runs_and_not_of_their_status() -> None:
    (rule,) = policy_spec()["matchConstraints"]["resourceRules"]
    assert (rule["operations"], rule["resources"]) == (["CREATE", "UPDATE"], ["deepicdruns"])
