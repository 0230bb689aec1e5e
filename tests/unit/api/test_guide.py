"""The Python of the researchers' guide, run as it is printed."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deepicd.run_layout import RunLayout
from tests.unit.api.conftest import CANARY, CODES

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "researcher.md"


def block(start: str) -> str:
    """The one block of Python that starts with this text."""
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    [found] = [text for text in blocks if text.startswith(start)]
    return str(found)


@pytest.fixture(autouse=True)
def teacher(layout: RunLayout, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the teacher's run, beside the quickstart's."""
    monkeypatch.chdir(layout.folder.parents[1])
    return layout.folder.rename(layout.folder.with_name("teacher"))


def test_the_teachers_right_traces_become_traces_for_sft(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exec(block("# notes.py"))
    notes = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert notes == [{"id": str(place), "note": f"{CANARY} train {place}"} for place in range(len(CODES))]
    answers = [
        {"id": "0", "code": CODES[0], "trace": "why"},
        {"id": "1", "code": "I10", "trace": "wrong"},
        {"id": "2", "code": CODES[2], "trace": None},
    ]
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(json.dumps(answer) + "\n" for answer in answers)))
    exec(block("# traces.py"))
    assert capsys.readouterr().out == '{"id": "0", "trace": "why"}\n'


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
