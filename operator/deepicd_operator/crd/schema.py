"""Converts Pydantic's JSON Schema to the structural schema that a CustomResourceDefinition requires.

Every level has a type, nothing is a reference, "X or null" is `nullable`, and keys that OpenAPI v3.0 lacks are rewritten.
Strings, lists and maps are bounded, so that the API server can bound the cost of the CEL rules.
"""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BaseModel, TypeAdapter
from pydantic.fields import FieldInfo

from deepicd.spec.changes import models_in
from deepicd_operator.crd.rules import key_rule, rules_of

MAX_STRING = 4096
MAX_ITEMS = 64
MAX_PROPERTIES = 64
_KEPT = (
    *("type", "enum", "pattern", "minLength", "maxLength", "maximum", "minimum", "multipleOf"),
    *("minItems", "maxItems", "maxProperties"),
)
_FREE_OBJECT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model, with its rules and those of nested models."""
    root = model.model_json_schema(by_alias=True)
    definitions = {model.__name__: root, **root.get("$defs", {})}
    return _object(model, definitions)


def _object(model: type[BaseModel], definitions: dict[str, Any]) -> dict[str, Any]:
    written = definitions[model.__name__]
    properties = {}
    for name, field in model.model_fields.items():
        alias = field.alias or name
        properties[alias] = _property(field, written["properties"][alias], definitions)
    result: dict[str, Any] = {"type": "object", "description": _one_line(written.get("description", ""))}
    if required := written.get("required"):
        result["required"] = list(required)
    if properties:  # the API server drops empty ones, and helm would see another's change
        result["properties"] = properties
    if rules := rules_of(model):
        result["x-kubernetes-validations"] = rules
    return result


def _property(field: FieldInfo, written: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _value(field.annotation, written, definitions)
    if field.description:
        schema["description"] = _one_line(field.description)
    if not field.is_required() and field.default is not None:
        schema["default"] = _default(field)
    return dict(sorted(schema.items(), key=lambda item: (item[0] not in {"description", "type", "default"}, item[0])))


def _default(field: FieldInfo) -> Any:
    default = field.default
    if isinstance(default, BaseModel):
        return default.model_dump(mode="json", by_alias=True, exclude_none=True)
    annotation: Any = field.annotation
    for part in field.metadata:
        annotation = Annotated[annotation, part]
    adapter: TypeAdapter[Any] = TypeAdapter(annotation)
    return adapter.dump_python(default, mode="json", by_alias=True)


def _value(annotation: Any, written: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if "anyOf" in written:
        choices = [choice for choice in written["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise TypeError(f"{annotation}: a structural schema has one type at each place")
        value = _value(annotation, choices[0], definitions)
        if choices := value.pop("enum", None):
            # The API server refuses null for an enum, even if the enum lists it.
            value["pattern"] = f"^({'|'.join(re.escape(choice) for choice in choices)})$"
            value["maxLength"] = max(len(choice) for choice in choices)
        return {**value, "nullable": True}
    if "$ref" in written:
        name = written["$ref"].rpartition("/")[2]
        model = next((each for each in models_in(annotation) if each.__name__ == name), None)
        return _object(model, definitions) if model else _scalar(definitions[name])
    kind = written.get("type")
    if kind == "array":
        items = _value(annotation, written["items"], definitions)
        return {
            **_scalar(written),
            "items": items,
            "maxItems": written.get("maxItems", MAX_ITEMS),
            "x-kubernetes-list-type": "atomic",
        }
    if kind == "object":
        return _map(annotation, written, definitions)
    return _scalar(written)


def _map(annotation: Any, written: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    pattern, values = next(iter(written.get("patternProperties", {}).items()), (None, written.get("additionalProperties")))
    if not isinstance(values, dict):
        return dict(_FREE_OBJECT)
    values = _value(annotation, values, definitions)
    schema = {"type": "object", "additionalProperties": values, "maxProperties": written.get("maxProperties", MAX_PROPERTIES)}
    return schema if pattern is None else {**schema, "x-kubernetes-validations": [key_rule(pattern)]}


def _scalar(written: dict[str, Any]) -> dict[str, Any]:
    schema = {key: written[key] for key in _KEPT if key in written}
    if "const" in written:
        schema["enum"] = [written["const"]]
    for bound in ("Minimum", "Maximum"):
        if f"exclusive{bound}" in written:
            schema[bound.lower()] = written[f"exclusive{bound}"]
            schema[f"exclusive{bound}"] = True
    kind = schema.get("type")
    if kind == "string" and written.get("format") == "date-time":
        schema["format"] = "date-time"
    elif kind == "string" and "enum" not in schema:
        schema.setdefault("maxLength", MAX_STRING)
    elif kind == "integer":
        schema["format"] = "int64"
    return schema


def _one_line(text: str) -> str:
    return " ".join(text.split())
