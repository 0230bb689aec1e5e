"""`deepicd report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deepicd.errors import UserError
from deepicd.run_layout import RunLayout


def report(
    run_folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of an evaluated run.", show_default=False)],
) -> None:
    """Write report.html of an evaluated run again, from the files in its evaluate folder, and print its path.

    Example: deepicd report runs/quickstart
    """
    if not run_folder.is_dir():
        found = "is a file" if run_folder.is_file() else "no such folder"
        raise UserError(f"{run_folder}: {found}: give the folder of an evaluated run, such as runs/quickstart")
    from deepicd.evaluation import report as evaluation_report  # its libraries would slow other commands

    out = RunLayout(run_folder).evaluation.report
    evaluation_report.write_report(evaluation_report.load(run_folder), out)
    typer.echo(out)
