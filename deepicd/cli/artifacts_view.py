"""Runs of a store as tables of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from rich.table import Table

from deepicd.cli.narrow_console import narrow_console
from deepicd.cli.stage_view import show_number

if TYPE_CHECKING:
    from deepicd.artifacts.listing import Run
    from deepicd.artifacts.prune import Proposal


def print_runs(runs: Iterable[tuple[Run, str]]) -> None:
    """Print each run: its checkpoints and models, what its evaluation measured, where its report is."""
    console = narrow_console()
    for run, url in runs:
        console.print(_committed(run, url))
        for attempt, models in run.results.items():
            shown = ", ".join(f"{name} {show_number(value) or '–'}" for name, value in models.items())
            console.print(f"attempt {attempt}: macro F1 of full codes: {shown}", highlight=False)
        for report in run.reports:
            console.print(f"report: {report}", highlight=False)
        uncommitted = len(run.uncommitted)
        if uncommitted:
            console.print(f"{uncommitted} unfinished: uploads in progress, or remains that 'deepicd artifacts prune' deletes")


def print_proposal(url: str, proposal: Proposal, *, deleted: bool) -> None:
    """Print what a clean-up deletes."""
    console = narrow_console()
    if proposal.is_empty:
        console.print(f"{url}: nothing to delete", highlight=False)
        return
    table = Table("deleted" if deleted else "would be deleted", title=url, title_justify="left")
    table.add_column("size", justify="right")
    for ref, size in proposal.checkpoints:
        table.add_row(str(ref), show_bytes(size))
    if proposal.leftovers:
        size = sum(item.size for item in proposal.leftovers)
        table.add_row(f"{len(proposal.leftovers)} files of interrupted uploads", show_bytes(size))
    console.print(table)


def show_bytes(size: float) -> str:
    """`1536` as `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _committed(run: Run, url: str) -> Table:
    table = Table(title=f"{run.root or url} ({show_bytes(run.size)})", title_justify="left")
    for heading in ("attempt", "what", "step", "size", "when (UTC)", "reward"):
        table.add_column(heading, justify="left" if heading in ("what", "when (UTC)") else "right", no_wrap=True)
    newest = run.latest.ref if run.latest else None
    for ref, made in run.manifests.items():
        if made is None:
            table.add_row(str(ref.attempt), f"{ref.stage}: manifest damaged", style="red")
            continue
        what = f"{made.stage} model" if made.step is None else f"{made.stage} (latest)" if ref == newest else made.stage
        reward = (made.metrics or {}).get("reward")
        when = made.created.strftime("%Y-%m-%d %H:%M")
        step = "" if made.step is None else str(made.step)
        table.add_row(str(made.attempt), what, step, show_bytes(made.size), when, show_number(reward))
    return table
