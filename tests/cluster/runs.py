"""DeepICDRuns for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.by_path import changed
from tests.cluster.api import Raw

SAMPLES = sorted((Path(__file__).parents[2] / "manifests" / "samples").glob("*.yaml"))


def sample(name: str, namespace: str, **changes: Any) -> Raw:
    """A sample of that name, with values set by path from `spec` (double underscores for dots)."""
    content: Raw = yaml.safe_load(next(path for path in SAMPLES if path.stem == name).read_text())
    content["metadata"]["namespace"] = namespace
    return changed(content, {f"spec__{path}": value for path, value in changes.items()})
