"""`deepicd data`: make, extract and check cohorts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Make, extract and check cohorts.", no_args_is_help=True, pretty_exceptions_enable=False)

_OUT = "Folder to write to; made when missing."


@app.command()
def synthetic(
    out: Annotated[Path, typer.Option(help=_OUT, show_default=False)],
    admissions: Annotated[int, typer.Option(min=1, help="Number of admissions.")] = 2000,
    codes: Annotated[int, typer.Option(min=2, help="Number of distinct principal diagnoses.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Make MIMIC-IV-shaped tables of invented patients, and reasoning traces for SFT.

    Example: `deepicd data synthetic --out tables --admissions 2000 --codes 60 --seed 0`
    """
    from deepicd.data.synthetic import write_tables
    from deepicd.spec.data import SyntheticSource

    write_tables(SyntheticSource(admissions=admissions, codes=codes, seed=seed), out)
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
def check(
    folder: Annotated[Path, typer.Argument(help="Folder written by `deepicd data mimic`.", metavar="DIR")],
    note: Annotated[
        Path | None, typer.Option(help="Folder with discharge: compare the notes with the summaries they were cut from.")
    ] = None,
) -> None:
    """Report a cohort's sizes, drops, labels, lengths, patient overlap and leakage; exit 64 where it must be fixed.

    Example: `deepicd data check cohort --note mimic-iv-note/2.2/note`
    """
    from deepicd.cli.cohort_view import print_report
    from deepicd.data.check import check as examine
    from deepicd.errors import UserError

    report = examine(folder, note)
    print_report(report)
    if report.problems:
        raise UserError(f"{folder}: {'; '.join(report.problems)}: run `deepicd data mimic` again")
