"""Which fields of a run may change once it has begun.

Each field has its own mark or that of its section. The marks decide which changes the API server refuses, how a run's folder
recognises its own work, and what the reference shows for a field.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

T = TypeVar("T")


class Mark(Enum):
    """Whether a field may change. A field without a mark has its section's, and the run's top section is fixed."""

    MAY_CHANGE = "it affects memory, speed or housekeeping, not the result"
    FIXED = "results of two values would be mixed"
    LATER = "fixed, and unknown to earlier versions: at its default a run is the one that they began"


MayChange = Annotated[T, Mark.MAY_CHANGE]
Fixed = Annotated[T, Mark.FIXED]
Later = Annotated[T, Mark.LATER]


def may_change(field: FieldInfo, section: bool) -> bool:
    """Whether a field may change, in a section that may or may not."""
    mark = next((part for part in field.metadata if isinstance(part, Mark)), None)
    return section if mark is None else mark is Mark.MAY_CHANGE


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The models in an annotation such as `tuple[Model, ...] | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def decisive(model: type[BaseModel], content: Mapping[str, Any], section: bool = False) -> dict[str, Any]:
    """A model's content, or a part of it, without the fields that may change. It identifies a run. Unknown names are kept."""
    kept = dict(content)
    for name, field in model.model_fields.items():
        alias = field.alias or name
        if alias not in content:
            continue
        value, here = content[alias], may_change(field, section)
        default = _default(field) if Mark.LATER in field.metadata else None
        for inner in models_in(field.annotation):
            if isinstance(default, Mapping):
                default = decisive(inner, default, here)
            if isinstance(value, Mapping) and _has_names(field.annotation):
                kept[alias] = value = {key: decisive(inner, each, here) for key, each in value.items()}
            elif isinstance(value, Mapping):
                kept[alias] = value = decisive(inner, value, here)
                here = here and not value
        # Where a later field has another default by now than null, earlier versions recorded null.
        if here or (Mark.LATER in field.metadata and value in (None, default)):
            del kept[alias]
    return kept


def _has_names(annotation: Any) -> bool:
    """Whether an annotation is a map of models by name, such as `dict[str, Model] | None`."""
    return any(get_origin(part) is dict for part in (annotation, *get_args(annotation)))


def _default(field: FieldInfo) -> Any:
    default = field.get_default(call_default_factory=True, validated_data={})
    return default.model_dump(mode="json", by_alias=True) if isinstance(default, BaseModel) else default


@dataclass(frozen=True)
class FixedField:
    """A field or a whole section that cannot change."""

    path: str
    """As `spec.stages.grpo.rollouts`."""
    optional: bool
    """Whether it may be left out."""
    sections: tuple[str, ...] = ()
    """Optional sections that contain it, each a FixedField itself, by its presence only."""
    presence: bool = False
    """Whether only its presence cannot change."""


def fixed_fields(
    model: type[BaseModel], path: str, section: bool = False, sections: tuple[str, ...] = ()
) -> Iterator[FixedField]:
    """What cannot change below a path, in the order of the models."""
    for name, field in model.model_fields.items():
        place, here = f"{path}.{field.alias or name}", may_change(field, section)
        optional, inner = type(None) in get_args(field.annotation), next(models_in(field.annotation), None)
        if inner is not None and _has_marks(inner):
            if optional and not here:
                yield FixedField(place, optional, sections, presence=True)
            yield from fixed_fields(inner, place, here, (*sections, place) if optional else sections)
        elif not here:
            yield FixedField(place, optional, sections)


def _has_marks(model: type[BaseModel]) -> bool:
    return any(
        Mark.MAY_CHANGE in field.metadata or Mark.FIXED in field.metadata or any(map(_has_marks, models_in(field.annotation)))
        for field in model.model_fields.values()
    )
