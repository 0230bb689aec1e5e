"""DeepICDRuns for tests."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.api import Raw

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))


def sample(name: str, namespace: str, **changes: Any) -> Raw:
    """A sample of that name, with values set by path from `spec` (double underscores for dots)."""
    content: Raw = yaml.safe_load(next(path for path in SAMPLES if path.stem == name).read_text())
    content["metadata"]["namespace"] = namespace
    return changed(content, {f"spec__{path}": value for path, value in changes.items()})


def changed(content: Raw, changes: dict[str, Any]) -> Raw:
    """The content with values set by path (double underscores for dots)."""
    content = copy.deepcopy(content)
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return content
