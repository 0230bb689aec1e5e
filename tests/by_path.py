"""Values set by path in nested mappings."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any


def changed(content: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The content with values set by path (double underscores for dots)."""
    made: dict[str, Any] = copy.deepcopy(dict(content))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = made
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return made
