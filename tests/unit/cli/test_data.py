"""`deepicd data synthetic`, `mimic`, `notes` and `check`."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepicd.cli.data import app
from deepicd.errors import UserError
from tests.unit.data.conftest import Hospital


def run(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], terminal_width=80)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    run("synthetic", "--out", folder / "tables", "--admissions", 300, "--codes", 12, "--seed", 1)
    return folder


@pytest.fixture(scope="module")
def cohort(made: Path) -> Path:
    run("mimic", "--hosp", made / "tables" / "hosp", "--note", made / "tables" / "note", "--out", made / "cohort")
    return made / "cohort"


def test_synthetic_says_what_it_wrote(tmp_path: Path) -> None:
    printed = run("synthetic", "--out", tmp_path / "t", "--admissions", 5, "--codes", 2)
    assert printed.startswith("5 admissions written")
    assert (tmp_path / "t" / "traces.jsonl").is_file()


def test_mimic_shows_what_was_kept_and_dropped(made: Path, tmp_path: Path) -> None:
    tables = made / "tables"
    printed = run("mimic", "--hosp", tables / "hosp", "--note", tables / "note", "--out", tmp_path / "c")
    for words in ("Cohort", "dropped: coded in ICD-9 only", "kept", "Splits", "validation"):
        assert words in printed


def test_mimic_takes_the_shares_of_the_splits(made: Path, tmp_path: Path) -> None:
    tables = made / "tables"
    with pytest.raises(UserError, match=r"train \+ validation \+ test is 1\.2: make it 1"):
        run("mimic", "--hosp", tables / "hosp", "--note", tables / "note", "--out", tmp_path / "c", "--train", 0.9)


def test_check_with_the_summaries_names_no_text(made: Path, cohort: Path) -> None:
    printed = run("check", cohort, "--note", made / "tables" / "note")
    assert "five words that only the later part has" in printed
    assert "not compared with the notes they were cut from" not in printed
    assert "not compared with the notes they were cut from" in run("check", cohort)


def test_tables_are_printed_as_json_on_request(made: Path, cohort: Path, tmp_path: Path) -> None:
    tables = made / "tables"
    printed = run("mimic", "--hosp", tables / "hosp", "--note", tables / "note", "--out", tmp_path / "c", "--json")
    assert json.loads(printed) == json.loads((tmp_path / "c" / "cohort.json").read_text())
    report = json.loads(run("check", cohort, "--json"))
    assert report["problems"] == []
    assert report["cohort"] == json.loads((cohort / "cohort.json").read_text())
    train = report["splits"]["train"]
    assert sum(train["codes"].values()) == train["admissions"] == report["cohort"]["splits"]["train"]["admissions"]
    assert list(train["words"]) == ["5", "50", "95", "99", "100"]


def test_check_reports_everything_within_80_columns(cohort: Path) -> None:
    printed = run("check", cohort)
    for title in ("Cohort", "Splits", "Chapters", "Most frequent codes", "Lengths, percentiles", "Leakage"):
        assert title in printed
    assert "no problems found" in printed
    assert max(map(len, printed.splitlines())) <= 80


def test_check_names_a_source_that_is_not_there(cohort: Path) -> None:
    with pytest.raises(UserError, match=r"^--note: no file or folder /none: give the folder with discharge, or the file"):
        run("check", cohort, "--note", "/none")


def test_check_fails_on_patients_in_two_splits(cohort: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad"
    shutil.copytree(cohort, bad)
    shutil.copy(bad / "train.parquet", bad / "test.parquet")
    with pytest.raises(UserError, match="patients are in more than one split") as caught:
        run("check", bad)
    assert caught.value.exit_code == 64


NOTES = Path(__file__).parents[3] / "manifests" / "samples" / "notes.csv"


def test_own_notes_become_a_cohort_that_check_accepts(tmp_path: Path) -> None:
    printed = run("notes", "--file", NOTES, "--sections", "none", "--out", tmp_path / "c")
    assert "notes read" in printed
    checked = run("check", tmp_path / "c", "--note", NOTES)
    assert "no problems found" in checked
    assert "five words that only the later part has" in checked


def test_own_notes_in_two_files_are_one_cohort(tmp_path: Path) -> None:
    head, *rows = NOTES.read_text().splitlines(keepends=True)
    whole = "".join(rows)
    middle = whole.index("\nn11,") + 1
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    first.write_text(head + whole[:middle])
    second.write_text(head + whole[middle:])
    files = ("--file", first, "--file", second)
    printed = run("notes", *files, "--sections", "none", "--out", tmp_path / "c")
    assert printed == run("notes", "--file", NOTES, "--sections", "none", "--out", tmp_path / "d")
    assert "no problems found" in run("check", tmp_path / "c", "--note", first, "--note", second)
    second.unlink()
    with pytest.raises(UserError, match=rf"{second}: no such file"):
        run("notes", *files, "--out", tmp_path / "e")


def test_notes_with_other_column_names_are_read_and_checked_by_mapping_them(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(NOTES.read_text().replace("id,patient_id,note,", "visit,mrn,note,", 1))
    columns = ("--column", "id=visit", "--column", "patient_id=mrn")
    run("notes", "--file", path, *columns, "--sections", "none", "--out", tmp_path / "c")
    assert "no problems found" in run(
        "check", tmp_path / "c", "--note", path, "--column", "id=visit", "--column", "patient_id=mrn"
    )
    with pytest.raises(UserError, match=r"own\.csv: has no column id, patient_id, only visit, mrn, note, code"):
        run("check", tmp_path / "c", "--note", path)


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("visit", "--column visit: is not a column of the file: write NAME=COLUMN"),
        ("=visit", "--column : is not a column"),
        ("mrn=patient_id", "--column mrn=patient_id: the file's name for a column comes second: write patient_id=mrn"),
        ("patient=mrn", "--column: unknown column 'patient': did you mean 'patient_id'?"),
    ],
)
def test_a_column_that_cannot_be_mapped_is_named(tmp_path: Path, column: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        run("notes", "--file", NOTES, "--column", column, "--out", tmp_path / "c")
    assert message in str(caught.value)


@pytest.mark.parametrize("command", ["synthetic", "mimic", "notes", "check"])
def test_help_shows_an_example(command: str) -> None:
    assert f"Example: deepicd data {command}" in " ".join(run(command, "--help").split())


def test_the_module_imports_nothing_heavy() -> None:
    script = (
        "import sys, deepicd.cli.data\n"
        "print([name for name in ('duckdb', 'pyarrow', 'torch', 'verl', 'vllm', 'ray', 'transformers') "
        "if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_mimic_names_local_codes_and_codes_of_other_years_within_80_columns(tmp_path: Path) -> None:
    hospital = Hospital(tmp_path)
    hospital.title("LL1")
    hospital.admit(7, 8, codes=[(1, "LL1", 10)])
    hospital.admit(17, 18, codes=[(1, "K859", 10)], group="2017 - 2019")
    hospital.write()
    printed = run("mimic", "--hosp", tmp_path / "hosp", "--note", tmp_path / "note", "--out", tmp_path / "c")
    assert "that no release has, such as LL1" in " ".join(printed.replace("│", " ").split())
    assert "billable in none of these years, such as K85.9" in " ".join(printed.replace("│", " ").split())
    assert max(map(len, printed.splitlines())) <= 80
