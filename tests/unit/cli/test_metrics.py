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

SIX = b"".join(LINES.replace(b'id": ', b'id": %d' % number) for number in (1, 2, 3))
"""The same of six patients."""

app = typer.Typer()
app.command()(metrics)


def test_metrics_json_of_any_models_answers(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text('{"I10": 3, "M51.16": 1}')
    done = CliRunner().invoke(app, ["--train-counts", str(tmp_path / "counts.json"), "--bootstrap", "20"], input=SIX)
    computed = json.loads(done.stdout)
    assert computed["levels"]["code"]["macroF1"]["value"] == 0.5
    assert computed["levels"]["code"]["byFrequency"]["rare"]["macroF1"]["value"] == 1
    assert computed["rates"]["missing"]["value"] == 0.5
    assert computed["rates"]["format"]["value"] is None
    assert computed["bootstrap"]["samples"] == 20


def test_seed_decides_the_output() -> None:
    runs = [CliRunner().invoke(app, ["--seed", seed, "--bootstrap", "5"], input=SIX).stdout for seed in ("1", "1", "2")]
    assert runs[0] == runs[1]
    same, other = (json.loads(text)["levels"]["code"]["accuracy"]["interval"] for text in runs[1:])
    assert same != other


def test_too_few_patients_are_said_where_their_intervals_would_be() -> None:
    computed = json.loads(CliRunner().invoke(app, ["--bootstrap", "20"], input=LINES).stdout)
    assert computed["bootstrap"]["samples"] == 0
    assert computed["absent"]["interval"] == "fewer than 6 patients"


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


BAD = b"""{"id": 2, "subject_id": 2, "gold": "I10", "prediction": null}
{"id": 3, "subject_id": 2, "gold": "M51", "prediction": null}
{}
"""


def test_lines_at_fault_are_skipped_and_named_on_request() -> None:
    done = CliRunner().invoke(app, ["--bootstrap", "0", "--on-error", "skip"], input=LINES + BAD)
    alone = CliRunner().invoke(app, ["--bootstrap", "0"], input=LINES)
    assert (done.exit_code, done.stdout) == (0, alone.stdout)
    again, header, empty, total = done.stderr.splitlines()
    assert again.startswith("skipped: input line 3: id: is also that of line 2")
    assert header.startswith('skipped: input line 4: gold: "M51" is a header in every release')
    assert empty.startswith("skipped: input line 5: gold: is missing")
    assert total == "3 lines skipped"


def test_skipping_every_line_is_an_error() -> None:
    done = CliRunner().invoke(app, ["--on-error", "skip"], input=b"{}\n")
    assert isinstance(done.exception, UserError)
    assert "no readable predictions" in str(done.exception)


def test_codes_of_other_years_have_a_rate_where_the_years_are_known() -> None:
    lines = [
        {"id": 1, "subject_id": 1, "gold": "K8590", "prediction": "K859", "fiscal_years": [2017, 2020]},
        {"id": 2, "subject_id": 2, "gold": "K859", "prediction": "K859", "fiscal_years": [2014, 2017]},
        {"id": 3, "subject_id": 3, "gold": "K859", "prediction": "M51", "fiscal_years": [2020, 2023]},
        {"id": 4, "subject_id": 4, "gold": "K859", "prediction": None, "fiscal_years": [2017, 2020]},
        {"id": 5, "subject_id": 5, "gold": "K859", "prediction": "K859"},
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    computed = json.loads(CliRunner().invoke(app, ["--bootstrap", "0"], input=text).stdout)
    assert computed["rates"]["outsideYears"]["value"] == 1 / 4
    assert computed["goldOutsideYears"] == 2
    assert computed["levels"]["code"]["accuracy"]["value"] == 2 / 5


def test_without_years_the_rate_is_unknown() -> None:
    computed = json.loads(CliRunner().invoke(app, ["--bootstrap", "5"], input=LINES).stdout)
    assert computed["rates"]["outsideYears"] == {"value": None, "interval": None}
    assert computed["goldOutsideYears"] is None


def test_a_local_gold_code_may_be_in_the_training_counts_and_has_no_chapter(tmp_path: Path) -> None:
    (tmp_path / "counts.json").write_text('{"LL1": 3, "I10": 1}')
    text = '{"id": 1, "subject_id": 1, "gold": "LL1", "prediction": "LL1", "local_gold": true}\n'
    done = CliRunner().invoke(app, ["--train-counts", str(tmp_path / "counts.json"), "--bootstrap", "0"], input=text)
    computed = json.loads(done.stdout)
    assert computed["goldNotBillable"] == 1
    assert computed["levels"]["code"]["accuracy"]["value"] == 1
    assert [row["title"] for row in computed["byChapter"]] == ["Local codes of no chapter"]
