"""Settings in the form that a card may show: without folders, stores, endpoints and keys."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepicd.evaluation.report.sections.settings import Setting, as_yaml

_SHOWN = ("spec.model.", "spec.data.synthetic.", "spec.reward.", "spec.stages.", "spec.seed")
"""The other settings name machines and stores, and decide nothing about the model."""
_HIDDEN = frozenset({"endpoint", "apiKey", "dataUse"})
_MODELS = frozenset({"path", "model"})
"""Fields with a folder, or a model's name on the hub."""
_PLACES = frozenset({"run", "file", "rubric"})
"""Fields with a folder or file."""
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_OVERRIDE = re.compile(r"(?P<key>[^=]+=)(?P<value>[^=]*/[^=]*)")


def public_settings(settings: Iterable[Setting]) -> Iterator[Setting]:
    """Settings that decide the model. Folders and files are shown by their last name; endpoints and keys are left out."""
    for one in settings:
        parts = one.path.split(".")
        # The facts at the top of a card name the base model.
        if one.path.startswith(_SHOWN) and one.path != "spec.model.path" and _HIDDEN.isdisjoint(parts):
            yield replace(one, value=as_yaml(_public(one.content, parts[-1])))


def public_name(place: str) -> str:
    """A model's name on the hub unchanged, and any other path by its last name."""
    return place if is_of_hub(place) else Path(place).name


def is_of_hub(place: str) -> bool:
    """Whether a path is a name of the Hugging Face Hub."""
    return bool(_HUB_NAME.fullmatch(place)) and not Path(place).exists()


def _public(value: Any, field: str) -> Any:
    if isinstance(value, dict):
        return {name: _public(own, name) for name, own in value.items() if name not in _HIDDEN}
    if field == "overrides":
        return [_OVERRIDE.sub(lambda found: found["key"] + Path(found["value"]).name, one) for one in value]
    if not isinstance(value, str):
        return value
    return public_name(value) if field in _MODELS else Path(value).name if field in _PLACES else value
