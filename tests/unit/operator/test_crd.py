from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import yaml

from deepicd.spec.compute import QUALIFIED_PATTERN
from deepicd.spec.model import ModelSpec
from deepicd.spec.run import DeepICDRun
from deepicd_operator.crd import crd, crd_yaml
from deepicd_operator.crd.rules import rules_of, run_rules
from docs.pages.fields import sections


def schema() -> dict[str, Any]:
    version = crd()["spec"]["versions"][0]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def places(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from places(inner, f"{path}.{name}")
    if "items" in node:
        yield from places(node["items"], f"{path}[]")
    if isinstance(node.get("additionalProperties"), dict):
        yield from places(node["additionalProperties"], f"{path}{{}}")


def test_every_schema_node_has_one_type_and_nothing_that_a_structural_schema_forbids() -> None:
    forbidden = {"$ref", "anyOf", "oneOf", "allOf", "const", "$defs", "patternProperties", "propertyNames", "title"}
    for path, node in places(schema()):
        assert isinstance(node.get("type"), str), path
        assert not forbidden & set(node), path
        assert not ("properties" in node and "additionalProperties" in node), path


def test_only_the_escape_hatches_take_unknown_fields() -> None:
    free = [path for path, node in places(schema()) if node.get("x-kubernetes-preserve-unknown-fields")]
    assert free == [
        ".spec.compute.affinity", ".spec.compute.podTemplatePatch.metadata", ".spec.compute.podTemplatePatch.spec",
    ]  # fmt: skip


def test_every_field_of_the_spec_is_described() -> None:
    fields = {path: node for path, node in places(schema()) if path.startswith(".spec.") and not path.endswith(("[]", "{}"))}
    nameless = [path for path, node in fields.items() if not node.get("description")]
    assert nameless == []


def test_texts_lists_and_maps_are_bounded() -> None:
    for path, node in places(schema()["properties"]["spec"]):
        if node["type"] == "string" and "enum" not in node:
            assert "maxLength" in node, path
        if node["type"] == "array":
            assert "maxItems" in node, path
        if isinstance(node.get("additionalProperties"), dict):
            assert "maxProperties" in node, path


def test_bounds_defaults_and_choices_are_those_of_the_models() -> None:
    spec = schema()["properties"]["spec"]["properties"]
    grpo = spec["stages"]["properties"]["grpo"]
    assert grpo["nullable"] is True
    assert grpo["properties"]["rollouts"] == {
        "description": "Completions sampled per prompt; they form a group, and its mean reward is the baseline.",
        "type": "integer", "default": 8, "format": "int64", "minimum": 2,
    }  # fmt: skip
    rate = grpo["properties"]["learningRate"]
    assert (rate["minimum"], rate["exclusiveMinimum"], rate["default"]) == (0, True, 1e-6)
    assert spec["model"]["properties"]["dtype"]["enum"] == ["bfloat16", "float32"]
    assert spec["compute"]["properties"]["imagePullPolicy"]["pattern"] == "^(Always|IfNotPresent|Never)$"
    assert spec["recovery"]["properties"]["stallAfter"]["default"] == "30m"
    assert spec["compute"]["properties"]["sharedMemory"]["default"] == "16Gi"
    assert spec["compute"]["default"]["scratch"] == {"size": "600Gi"}


def test_every_rule_of_every_model_is_at_every_place_of_the_model() -> None:
    # The paths of models do not name the key of a map.
    found = {path.lstrip(".").replace("{}", ""): node.get("x-kubernetes-validations", []) for path, node in places(schema())}
    for path, model in sections(DeepICDRun):
        for rule in model.rules:
            if rule.cel and path != "metadata":
                assert rule.to_crd() in found[path], (path, rule.message)


def test_only_what_needs_python_is_left_to_python() -> None:
    left = [path for path, model in sections(DeepICDRun) for rule in model.rules if not rule.cel]
    assert left == [
        "spec", "spec.model.lora", "spec.reward.judge", "spec.reward.judge.second", "spec.stages.distill.teacher",
        "spec.storage.s3", "spec.tracking.mlflow", "spec.compute",
    ]  # podTemplatePatch, endpoints, affinity  # fmt: skip


def test_no_model_has_a_check_across_fields_that_is_no_rule() -> None:
    for path, model in sections(DeepICDRun):
        checks = set(model.__pydantic_decorators__.model_validators) - {"_name_unknown_fields", "_rules_hold"}
        # Refused before any message could show the password.
        of_address = {
            "spec.storage.s3": {"_no_credentials_in_endpoint"},
            "spec.reward.judge": {"_no_credentials_in_endpoint"},
            "spec.reward.judge.second": {"_no_credentials_in_endpoint"},
            "spec.stages.distill.teacher": {"_no_credentials_in_endpoint"},
            "spec.tracking.mlflow": {"_no_credentials_in_uri"},
        }
        assert checks == of_address.get(path, set()), path


def test_rules_are_written_out() -> None:
    assert rules_of(ModelSpec) == [
        {"rule": "(has(self.path) ? 1 : 0) + (has(self.tiny) ? 1 : 0) == 1", "message": "give exactly one of path, tiny"}
    ]


def test_keys_of_maps_match_the_pattern_of_the_models() -> None:
    selector = schema()["properties"]["spec"]["properties"]["compute"]["properties"]["nodeSelector"]
    (rule,) = selector["x-kubernetes-validations"]
    assert rule["message"] == f"a key does not match {QUALIFIED_PATTERN}"


def test_what_cannot_change_has_a_rule_each_and_what_may_has_none() -> None:
    fixed = {rule["fieldPath"].removeprefix(".") for rule in run_rules() if "oldSelf" in rule["rule"]}
    assert {"spec.seed", "spec.model", "spec.data", "spec.stages.sft", "spec.stages.grpo.rollouts"} < fixed
    assert {"spec.reward.preset", "spec.reward.terms", "spec.reward.judge", "spec.reward.judge.rubric"} < fixed
    assert {"spec.stages.evaluate", "spec.storage.s3", "spec.compute.gpus", "spec.compute.nodes"} < fixed
    parts = " ".join(fixed)
    for free in (
        "microBatch",
        "recovery",
        "suspend",
        "keep",
        "image",
        "saveEvery",
        "validateEvery",
        "offload",
        "gpuMemory",
        "onFailure",
    ):
        assert free not in parts


def test_the_columns_are_those_that_are_documented() -> None:
    columns = crd()["spec"]["versions"][0]["additionalPrinterColumns"]
    assert [column["name"].upper() for column in columns if "priority" not in column] == [
        "STATE", "STAGE", "STEP", "REWARD", "KL", "F1-CATEGORY", "ATTEMPT", "ETA", "AGE",
    ]  # fmt: skip


def test_every_column_shows_a_field_of_the_status() -> None:
    known = {path for path, _ in places(schema())}
    for column in crd()["spec"]["versions"][0]["additionalPrinterColumns"]:
        assert column["jsonPath"] in known | {".metadata.creationTimestamp"}


def test_the_printed_yaml_is_the_whole_crd() -> None:
    assert yaml.safe_load(crd_yaml()) == crd()
