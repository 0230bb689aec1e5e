"""Prints the chart's README: readme.in.md and a table of values.yaml with its comments."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

CHART = Path(__file__).parent / "deepicd"


def rows() -> Iterator[str]:
    """Yield a table row for each top-level value, with the comment above it.

    Raises:
        SystemExit: a value has no comment.
    """
    text = (CHART / "values.yaml").read_text()
    defaults = yaml.safe_load(text)
    comment: list[str] = []
    for line in text.splitlines():
        if line.startswith("# "):
            comment.append(line.removeprefix("# "))
        elif line and not line[0].isspace():
            name = line.partition(":")[0]
            if not comment:
                raise SystemExit(f"values.yaml: {name}: has no comment: explain the value in one")
            default = yaml.safe_dump(defaults[name], default_flow_style=True, sort_keys=False, width=10_000)
            yield f"| `{name}` | `{default.removesuffix('...' + chr(10)).strip()}` | {' '.join(comment)} |\n"
            comment = []


if __name__ == "__main__":
    sys.stdout.write((CHART.parent / "readme.in.md").read_text() + "".join(rows()))
