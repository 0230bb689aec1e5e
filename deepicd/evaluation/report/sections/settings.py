"""Settings that differ from the defaults, all settings, and versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from deepicd.errors import UserError
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render
from deepicd.spec.load import parse


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting that differs from its default."""

    path: str
    value: str
    default: str
    """Empty if it has none."""
    content: Any = None
    """What `value` shows, as JSON has it; None for an absent one."""


def section(report: Report) -> Section:
    """The run.yaml and the versions of the packages."""
    text = report.settings if isinstance(report.settings, str) else yaml.safe_dump(dict(report.settings), sort_keys=False)
    html = render("settings.html.j2", changed=changed_settings(report), settings=text, versions=report.versions)
    return Section("settings", "Settings and versions", "Settings", html)


def changed_settings(report: Report) -> list[Setting] | None:
    """The settings that differ from their defaults; None if this version cannot read the run.yaml."""
    try:
        return list(changed(parse(report.content, "run.yaml").spec, "spec"))
    except UserError:
        return None


def changed(model: BaseModel, path: str) -> Iterator[Setting]:
    """Settings of a part of run.yaml that differ from their defaults, in the order of the schema."""
    defaults = _defaults(model)
    for name, field in type(model).model_fields.items():
        value = getattr(model, name)
        here = f"{path}.{field.alias or name}"
        if isinstance(value, BaseModel):
            yield from changed(value, here)
        elif field.is_required() or value != defaults[name]:
            without = model.model_copy(update={name: defaults.get(name)})
            before = "" if field.is_required() else as_yaml(_content(without, name))
            yield Setting(here, as_yaml(found := _content(model, name)), before, found)


def _defaults(model: BaseModel) -> dict[str, Any]:
    """The default of each field that has one, as the class fills them in."""
    fields = type(model).model_fields
    if not any(field.is_required() for field in fields.values()):
        try:
            return dict(type(model)())
        except ValidationError:  # a rule of the class: one of its fields must be set
            pass
    return {
        name: field.get_default(call_default_factory=True, validated_data={})
        for name, field in fields.items()
        if not field.is_required()
    }


def _content(model: BaseModel, name: str) -> Any:
    value = model.model_dump(mode="json", by_alias=True, exclude_none=True, include={name})
    return next(iter(value.values()), None)


def as_yaml(content: Any) -> str:
    """A field's content on one line, as run.yaml writes it; `none` for None."""
    if content is None:
        return "none"
    quoted = '"' if isinstance(content, str) and "\n" in content else None
    text = yaml.safe_dump(content, default_flow_style=True, default_style=quoted, width=10_000, allow_unicode=True)
    return text.removesuffix("\n...\n").strip()
