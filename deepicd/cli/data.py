"""`deepicd data`: make, extract and check cohorts."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from deepicd.spec.data import NotesSource

app = typer.Typer(help="Make, extract and check cohorts.", no_args_is_help=True, pretty_exceptions_enable=False)

_OUT = "Folder to write to; created if missing."
_COLUMN = "The file's name for a column, such as note=text; repeat it for each column."


class Sections(StrEnum):
    """Which part of a note is used."""

    ADMISSION = "admission"
    NONE = "none"


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option(help=_OUT, show_default=False)],
    admissions: Annotated[int, typer.Option(min=1, help="Number of admissions.")] = 2000,
    codes: Annotated[int, typer.Option(min=2, help="Number of distinct principal diagnoses.")] = 60,
    frequency_exponent: Annotated[
        float, typer.Option(min=0, max=3, help="The k-th most frequent code has a frequency proportional to k**-exponent.")
    ] = 0.8,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Make MIMIC-IV-shaped tables of invented patients, and reasoning traces for SFT.

    Example: `deepicd data synthetic --out tables --admissions 2000 --codes 60 --seed 0`
    """
    from deepicd.data.synthetic import write_tables
    from deepicd.spec.data import SyntheticSource

    source = SyntheticSource(admissions=admissions, codes=codes, frequency_exponent=frequency_exponent, seed=seed)
    write_tables(source, out)
    typer.echo(f"{admissions} admissions written: {out}/hosp, {out}/note, {out}/traces.jsonl")


@app.command()
def mimic(
    hosp: Annotated[Path, typer.Option(help="Folder with admissions, patients, diagnoses_icd, d_icd_diagnoses.")],
    note: Annotated[Path, typer.Option(help="Folder with discharge.")],
    out: Annotated[Path, typer.Option(help=_OUT)],
    train: Annotated[float, typer.Option(help="Share of patients to train on.")] = 0.7,
    validation: Annotated[float, typer.Option(help="Share of patients to follow training with.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of patients held out for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
) -> None:
    """Extract a cohort of admission notes from MIMIC-IV v3.1 and MIMIC-IV-Note v2.2, split by patient.

    Example: `deepicd data mimic --hosp mimiciv/3.1/hosp --note mimic-iv-note/2.2/note --out cohort`
    """
    from deepicd.cli.cohort_view import print_cohort
    from deepicd.data.mimic import extract
    from deepicd.data.splits import split_spec

    counts = extract(hosp, note, out, split_spec(train, validation, test, seed))
    print_cohort(counts)


@app.command()
def notes(
    file: Annotated[str, typer.Option(help="A .parquet, .csv or .jsonl file; a pattern such as 'notes-*.csv' names several.")],
    out: Annotated[Path, typer.Option(help=_OUT)],
    column: Annotated[list[str], typer.Option(help=_COLUMN, metavar="NAME=COLUMN")] = [],  # noqa: B006 - typer's way
    sections: Annotated[
        Sections,
        typer.Option(help="admission: use the admission part of discharge summaries. none: use the notes as they are."),
    ] = Sections.ADMISSION,
    train: Annotated[float, typer.Option(help="Share of patients to train on.")] = 0.7,
    validation: Annotated[float, typer.Option(help="Share of patients to follow training with.")] = 0.1,
    test: Annotated[float, typer.Option(help="Share of patients held out for the evaluation.")] = 0.2,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 42,
) -> None:
    """Make a cohort from your own notes, split by patient.

    Columns: id (of the admission), patient_id, note, code; optionally sex, age, race, insurance, language, and split (train,
    validation or test) instead of the shares.

    Example: `deepicd data notes --file notes.csv --column note=text --sections none --out cohort`
    """
    from deepicd.cli.cohort_view import print_cohort
    from deepicd.data.notes import extract
    from deepicd.data.splits import split_spec

    print_cohort(extract(_source(file, column, sections), out, split_spec(train, validation, test, seed)))


@app.command()
def check(
    folder: Annotated[
        Path, typer.Argument(help="Folder written by `deepicd data mimic` or `deepicd data notes`.", metavar="DIR")
    ],
    note: Annotated[
        str | None, typer.Option(help="Folder with discharge, or the file of your notes: compare the notes with their source.")
    ] = None,
    column: Annotated[list[str], typer.Option(help=_COLUMN, metavar="NAME=COLUMN")] = [],  # noqa: B006 - typer's way
) -> None:
    """Report a cohort's sizes, drops, labels, lengths, patient overlap and leakage; exit 64 if it must be fixed.

    Example: `deepicd data check cohort --note mimic-iv-note/2.2/note`
    """
    from deepicd.cli.cohort_view import print_report
    from deepicd.data.check import check as examine
    from deepicd.data.cohort import WRITERS
    from deepicd.errors import UserError

    if note is None:
        report = examine(folder)
    else:
        report = examine(folder, Path(note) if Path(note).is_dir() else _source(note, column, Sections.NONE))
    print_report(report)
    if report.problems:
        raise UserError(f"{folder}: {'; '.join(report.problems)}: run {WRITERS} again")


def _source(file: str, columns: list[str], sections: Sections) -> NotesSource:
    """The spec's source for the options of the command line.

    Raises:
        UserError: a column is not of the form NAME=COLUMN, or the name is unknown.
    """
    from pydantic import ValidationError

    from deepicd.errors import UserError
    from deepicd.spec.data import NotesSource

    pairs = [one.partition("=") for one in columns]
    if (wrong := next((name for name, _, column in pairs if not (name and column)), None)) is not None:
        raise UserError(f"--column {wrong}: names no column of the file: write NAME=COLUMN, such as note=text")
    try:
        return NotesSource(file=file, columns={name: column for name, _, column in pairs}, sections=sections.value)
    except ValidationError as error:
        message = error.errors()[0]["msg"].removeprefix("Value error, ")
    raise UserError(f"--column: {message}")
