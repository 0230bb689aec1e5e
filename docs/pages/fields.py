"""The page about run.yaml: every field, from the models of `deepicd.spec`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import FixedField, fixed_fields
from deepicd.spec.run import DeepICDRun, RunSpec
from docs.pages.markdown import cell


def spec_page() -> str:
    """Return the page: a table for each section of run.yaml."""
    parts = "".join(_section(model, path) for path, model in sections(DeepICDRun))
    return (
        "# run.yaml\nEvery field. `deepicd schema` prints the same as a JSON Schema. "
        f"The column `may change` marks fields that can change after the run has started.\n{parts}"
    )


def sections(model: type[SpecModel], path: str = "") -> Iterator[tuple[str, type[SpecModel]]]:
    """Yield a model and all models nested in it, with their paths."""
    yield path, model
    for name, field in model.model_fields.items():
        listed = "[]" if "tuple" in str(field.annotation) else ""
        for child in _models(field.annotation):
            yield from sections(child, f"{path}.{field.alias or name}{listed}".lstrip("."))


def _section(model: type[SpecModel], path: str) -> str:
    schema = model.model_json_schema()
    rows = []
    for name, field in model.model_fields.items():
        alias = field.alias or name
        place = f"{path}.{alias}".lstrip(".")
        kind, bounds = _kind(schema["properties"][alias])
        if any(_models(field.annotation)):
            several = {"tuple[": "list of ", "dict[": "mapping of names to "}
            kind = next((text for part, text in several.items() if part in str(field.annotation)), "")
            kind, bounds = f"{kind}[section{'s' if kind else ''}](#{_anchor(place)})", ""
        meaning = cell(field.description or "")
        shown = f"{meaning} {bounds}".strip()
        free = "yes" if may_change(place) else ""
        rows.append(f"| `{alias}`{{ #{place} }} | {kind} | {_default(field)} | {free} | {shown} |\n")
    about = " ".join((model.__doc__ or "").split())
    title = f"\n## `{path}` {{ #{_anchor(path)} }}\n" if path else "\n## The file { #file }\n"
    return f"{title}{about}\n\n| field | type | default | may change | meaning |\n|---|---|---|---|---|\n{''.join(rows)}"


def may_change(place: str) -> bool:
    """Whether the field at a path such as `spec.suspend`, with everything in it, may change after the run has started."""
    place = place.replace("[]", "")

    def fixes(field: FixedField) -> bool:
        below = place.startswith(f"{field.path}.") and not field.presence
        return below or f"{field.path}.".startswith(f"{place}.")

    return place.startswith("spec.") and not any(map(fixes, fixed_fields(RunSpec, "spec")))


def _anchor(path: str) -> str:
    # A field's own anchor is its path.
    return "section-" + path.replace("[]", "").replace(".", "-")


def _models(annotation: Any) -> Iterator[type[SpecModel]]:
    if isinstance(annotation, type) and issubclass(annotation, SpecModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


_UNITS = {"Ki|Mi|Gi|Ti": "size, `64Gi`", "d)": "duration, `30m`"}
_NAMES = {"integer": "whole number", "boolean": "`true`, `false`", "string": "text", "object": "mapping"}
_BOUNDS = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "multipleOf": "a multiple of {}", "maxLength": "at most {} characters", "maxItems": "at most {} entries",
    "maxProperties": "at most {} entries", "pattern": "matches `{}`",
}  # fmt: skip


def _kind(schema: dict[str, Any]) -> tuple[str, str]:
    """Return type and bounds of a field, for people."""
    schema = next((each for each in schema.get("anyOf", ()) if each.get("type") != "null"), schema)
    if choices := schema.get("enum") or ([schema["const"]] if "const" in schema else []):
        return ", ".join(f"`{choice}`" for choice in choices), ""
    pattern = schema.get("pattern", "")
    if unit := next((name for part, name in _UNITS.items() if part in pattern), None):
        return unit, ""
    bounds = "; ".join(text.format(schema[key]) for key, text in _BOUNDS.items() if key in schema)
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])[0]}", f"({bounds})" if bounds else ""
    return _NAMES.get(schema.get("type", ""), schema.get("type", "")), f"({bounds})".replace("|", "\\|") if bounds else ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if value is None or isinstance(value, SpecModel):
        return "" if value is None else "its defaults"
    raw = TypeAdapter(field.rebuild_annotation()).dump_python(value, mode="json")
    text = yaml.safe_dump(raw, default_flow_style=True).removesuffix("...\n").strip()
    return f"`{text}`"
