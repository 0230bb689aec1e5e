"""`deepicd data`: make, extract and check cohorts."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepicd.cli.program import Program
from deepicd.spec.data import NOTE_COLUMNS, NotesSource, Sections, SyntheticSource

if TYPE_CHECKING:
    from deepicd.data.cohort import Cohort

app = Program(help="Create, extract and check cohorts.")

_OUT = "Folder to write to; created if missing."
_COLUMN = "A column's name in the file, such as note=text; repeat for each column."
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=_OUT, show_default=False)],
    admissions: Annotated[int, typer.Option(min=1, help="Number of admissions.")] = 2000,
    codes: Annotated[int, typer.Option(min=2, help="Number of distinct principal diagnoses.")] = 60,
    frequency_exponent: Annotated[
        float, typer.Option(min=0, max=3, help="The k-th most frequent code has a frequency proportional to k**-exponent.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Create MIMIC-IV-shaped tables of invented patients, and reasoning traces for SFT.

    Example: `deepicd data synthetic --out tables --admissions 2000 --codes 60 --seed 0`
    """
    from deepicd.data.synthetic import write_tables

    source = SyntheticSource(admissions=admissions, codes=codes, frequency_exponent=frequency_exponent, seed=seed)
    write_tables(source, out)
    typer.echo(f"{admissions} admissions written: {out}/hosp, {out}/note, {out}/traces.jsonl")


@app.command()
def mimic(
    hosp: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder with admissions, patients, diagnoses_icd, d_icd_diagnoses.")
    ],
    note: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder with discharge.")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=_OUT)],
    train: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients to train on.")] = 0.7,
    validation: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients used to monitor training.")] = 0.1,
    test: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients held out for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    as_json: Json = False,
) -> None:
    """Extract a cohort of admission notes from MIMIC-IV v3.1 and MIMIC-IV-Note v2.2, split by patient.

    Example: `deepicd data mimic --hosp mimiciv/3.1/hosp --note mimic-iv-note/2.2/note --out cohort`
    """
    from deepicd.data.mimic import extract
    from deepicd.data.splits import split_spec

    counts = extract(hosp, note, out, split_spec(train, validation, test, seed))
    _print(counts, as_json)


@app.command()
def notes(
    file: Annotated[
        list[str],
        typer.Option(
            metavar="FILE",
            help="A .parquet, .csv or .jsonl file, or a pattern such as 'notes-*.csv'; repeat for more files.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help=_OUT)],
    column: Annotated[list[str], typer.Option(help=_COLUMN, metavar="NAME=COLUMN")] = [],  # noqa: B006 - typer's way
    sections: Annotated[
        Sections,
        typer.Option(help="admission: use the admission part of discharge summaries. none: use the notes as they are."),
    ] = "admission",
    train: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients to train on.")] = 0.7,
    validation: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients used to monitor training.")] = 0.1,
    test: Annotated[float, typer.Option(metavar="SHARE", help="Share of patients held out for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
    as_json: Json = False,
) -> None:
    """Build a cohort from your own notes, split by patient.

    Columns: id (of the admission), patient_id, note, code; optionally sex, age, race, insurance, language, and split (train,
    validation or test) instead of the shares.

    Example: `deepicd data notes --file notes.csv --column note=text --sections none --out cohort`
    """
    from deepicd.data.notes import extract
    from deepicd.data.splits import split_spec

    _print(extract(_source(file, column, sections), out, split_spec(train, validation, test, seed)), as_json)


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder written by `deepicd data mimic` or `deepicd data notes`.", metavar="FOLDER")
    ],
    note: Annotated[
        list[str],
        typer.Option(
            metavar="PATH",
            help="Folder with discharge, or the file of your notes (repeat for more), to compare the notes with their source.",
        ),
    ] = [],  # noqa: B006 - typer's way
    column: Annotated[list[str], typer.Option(help=_COLUMN, metavar="NAME=COLUMN")] = [],  # noqa: B006 - typer's way
    as_json: Json = False,
) -> None:
    """Report a cohort's sizes, drops, labels, lengths, patient overlap and leakage; exit 64 if it must be fixed.

    Example: `deepicd data check cohort --note mimic-iv-note/2.2/note`
    """
    from glob import has_magic

    from deepicd.cli.cohort_view import print_report
    from deepicd.data.check import check as examine
    from deepicd.data.check import to_json
    from deepicd.data.cohort import WRITERS
    from deepicd.errors import UserError

    if not note:
        report = examine(folder)
    elif len(note) == 1 and not (Path(note[0]).exists() or has_magic(note[0])):
        raise UserError(f"--note: no file or folder {note[0]}: give the folder with discharge, or the file of your notes")
    elif len(note) == 1 and Path(note[0]).is_dir():
        report = examine(folder, Path(note[0]))
    else:
        report = examine(folder, _source(note, column, "none"))
    if as_json:
        typer.echo(json.dumps(to_json(report), indent=2))
    else:
        print_report(report)
    if report.problems:
        raise UserError(f"{folder}: {'; '.join(report.problems)}: run {WRITERS} again")


def _print(counts: Cohort, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(asdict(counts), indent=2))
        return
    from deepicd.cli.cohort_view import print_cohort

    print_cohort(counts)


def _source(files: list[str], columns: list[str], sections: Sections) -> NotesSource:
    """The spec's source for the options of the command line.

    Raises:
        UserError: a column is not of the form NAME=COLUMN, or the name is unknown.
    """
    from pydantic import ValidationError

    from deepicd.errors import UserError
    from deepicd.spec.wording import expected

    pairs = [one.partition("=") for one in columns]
    if (wrong := next((name for name, _, column in pairs if not (name and column)), None)) is not None:
        raise UserError(f"--column {wrong}: is not a column of the file: write NAME=COLUMN, such as note=text")
    for name, _, column in pairs:
        if name not in NOTE_COLUMNS and column in NOTE_COLUMNS:
            raise UserError(f"--column {name}={column}: the file's name for a column comes second: write {column}={name}")
    try:
        return NotesSource(files=tuple(files), columns={name: column for name, _, column in pairs}, sections=sections)
    except ValidationError as error:
        found = error.errors(include_url=False)[0]
    option = "--column" if found["loc"][:1] == ("columns",) else "--file"
    raise UserError(f"{option}: {expected(found)}")
