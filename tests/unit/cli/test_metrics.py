import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.metrics import metrics
from deepicd.errors import UserError

LINES = b"""{"id": 1, "subject_id": 1, "gold": "M5116", "prediction": "m51.16"}
{"id": 2, "subject_id": 2, "gold": "I10", "prediction": null}
"""

app = typer.Typer()
app.command()(metrics)


def test_metrics_json_of_any_models_answers(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text('{"I10": 3, "M51.16": 1}')
    done = CliRunner().invoke(app, ["--train-counts", str(tmp_path / "counts.json"), "--bootstrap", "20"], input=LINES)
    computed = json.loads(done.stdout)
    assert computed["levels"]["code"]["macroF1"]["value"] == 0.5
    assert computed["levels"]["code"]["byFrequency"]["rare"]["macroF1"]["value"] == 1
    assert computed["rates"]["missing"]["value"] == 0.5
    assert computed["rates"]["format"]["value"] is None
    assert computed["bootstrap"]["samples"] == 20


def test_seed_decides_the_output() -> None:
    runs = [CliRunner().invoke(app, ["--seed", seed, "--bootstrap", "5"], input=LINES * 1).stdout for seed in ("1", "1", "2")]
    assert runs[0] == runs[1] != runs[2]


def test_a_bad_line_is_an_error_of_the_user() -> None:
    done = CliRunner().invoke(app, [], input=LINES + b"{}\n")
    assert isinstance(done.exception, UserError)
    assert "line 3: gold: is missing" in str(done.exception)
    assert done.stdout == ""


@pytest.mark.parametrize("option", ["--train-counts", "--bootstrap", "--seed"])
def test_help_shows_every_option_and_an_example(option: str) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}).stdout
    assert option in shown
    assert "deepicd metrics --train-counts counts.json" in shown
