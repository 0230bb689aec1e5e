"""What `deepicd run` and its like print at their end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deepicd.cli.run import _show_last
from deepicd.run_layout import RunLayout


@pytest.mark.parametrize(
    ("stages", "kind", "place"),
    [(("prepare", "distill"), "Traces", "distill/traces.jsonl"), (("prepare", "sft"), "Model", "sft/model")],
)
def test_without_an_evaluation_the_last_stages_result_is_named(
    stages: tuple[str, ...], kind: str, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seconds = dict.fromkeys(stages, 1.5)
    _show_last(RunLayout(tmp_path), seconds, as_json=False)
    assert capsys.readouterr().out == f"\n{kind}: {tmp_path / 'stages' / place}\n"
    _show_last(RunLayout(tmp_path), seconds, as_json=True)
    assert json.loads(capsys.readouterr().out) == {"seconds": seconds, kind.lower(): str(tmp_path / "stages" / place)}
