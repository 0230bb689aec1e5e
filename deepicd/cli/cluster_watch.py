"""`deepicd status --watch`: what is shown follows the cluster, through times when the API server does not answer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, NoReturn

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from deepicd.cli.cluster_view import news
from deepicd.kubernetes.api import ClusterError

Runs = list[dict[str, Any]]
_WIDE = 200
"""Columns if the width is unknown: nothing is cut off in a pipe or file."""


def console() -> Console:
    """The terminal, or what stands for it."""
    made = Console()
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


def follow(look: Callable[[], Runs], show: Callable[[Runs], RenderableType], seconds: float) -> NoReturn:
    """Show what `look` finds, again every so many seconds; in a pipe or file, only where a run's news have changed.

    The first look has to succeed. Where a later one fails for now, what was found last stays, with a note.

    Raises:
        UserError, ClusterError: of the first look; later only what the user has to change.
        KeyboardInterrupt: Ctrl-C ends it.
    """
    runs = look()
    screen = console()
    if not screen.is_terminal:
        _print_changes(screen, runs, look, show, seconds)
    with Live(show(runs), console=screen, auto_refresh=False) as live:
        seen = datetime.now().astimezone()
        while True:
            time.sleep(seconds)
            try:
                runs = look()
            except ClusterError as error:
                note = f"warning: {error}; shown as of {seen:%H:%M:%S}, still trying"
                live.update(Group(Text(note, style="yellow"), show(runs)), refresh=True)
            else:
                seen = datetime.now().astimezone()
                live.update(show(runs), refresh=True)


def _print_changes(
    screen: Console, runs: Runs, look: Callable[[], Runs], show: Callable[[Runs], RenderableType], seconds: float
) -> NoReturn:
    told: Sequence[str] = ()
    while True:
        if (now := [run["metadata"]["name"] + news(run) for run in runs]) != told:
            screen.print(show(runs))
            told = now
        time.sleep(seconds)
        try:
            runs = look()
        except ClusterError as error:
            screen.print(f"warning: {error}; still trying", markup=False)
