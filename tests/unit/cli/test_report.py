import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.report import report
from deepicd.errors import UserError
from deepicd.evaluation import predictions
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction

app = typer.Typer()
app.command()(report)


def test_the_report_is_made_again_from_the_run_folder(tmp_path: Path) -> None:
    folder = tmp_path / "evaluate"
    folder.mkdir()
    records = [Prediction("1", "1", "I10", "I10"), Prediction("2", "2", "M5116", None, ("no_diagnosis",))]
    predictions.write(folder / "predictions.parquet", {"base": records})
    (folder / "metrics.json").write_text(json.dumps({"base": compute(records, bootstrap_samples=0)}))
    (folder / "curves.jsonl").write_text("")
    about = {"run": "quickstart", "settings": "", "versions": {}, "stageSeconds": {}, "klName": "actor/ppo_kl"}
    (folder / "about.json").write_text(json.dumps(about))
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert done.stdout.strip() == str(folder / "report.html")
    assert "<h1>quickstart</h1>" in (folder / "report.html").read_text(encoding="utf-8")


def test_a_run_that_was_not_evaluated_is_an_error_of_the_user(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path)])
    assert isinstance(done.exception, UserError)
    assert "about.json: does not exist: evaluate the run first" in str(done.exception)


def test_help_shows_an_example() -> None:
    assert "deepicd report runs/quickstart" in CliRunner().invoke(app, ["--help"]).stdout


@pytest.mark.parametrize(("name", "found"), [("none", "no such folder"), ("file", "is a file")])
def test_what_is_no_folder_is_named(tmp_path: Path, name: str, found: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=f"{name}: {found}: give the folder of an evaluated run"):
        report(tmp_path / name)
