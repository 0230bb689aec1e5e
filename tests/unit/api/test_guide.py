"""The Python of the researchers' guide, run as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deepicd.run_layout import RunLayout

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "researcher.md"


def block(start: str) -> str:
    """The one block of Python that starts with this text."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if text.startswith(start)]
    return str(found)


@pytest.fixture(autouse=True)
def teacher(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a run."""
    monkeypatch.chdir(layout.folder.parents[1])
    return layout.folder.rename(layout.folder.with_name("teacher"))


def test_the_tables_of_a_run_have_what_the_guide_says(teacher: Path) -> None:
    text = block("import deepicd\n\nrun = ")
    names = re.findall(r"^run\.(\w+)", text, flags=re.MULTILINE)
    assert names == ["measures", "predictions", "curves"]
    found: dict[str, Any] = {}
    exec(text.replace("runs/quickstart", str(teacher)) + "tables = [run.measures, run.predictions, run.curves]", found)
    measures, predictions, curves = found["tables"]
    assert measures.column_names == ["model", "metric", "value", "low", "high"]
    assert {"id", "gold", "prediction", "faults", "reward", "terms.outcome"} <= set(predictions.column_names)
    assert curves.num_rows == 3
