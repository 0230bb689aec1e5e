"""`deepicd status --watch`: keeps the view up to date, also through outages of the API server."""

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
    """The terminal, or a wide console for a pipe or file."""
    made = Console()
    return made if made.is_terminal or "COLUMNS" in os.environ else Console(width=_WIDE)


def follow(look: Callable[[], Runs], show: Callable[[Runs], RenderableType], seconds: float) -> NoReturn:
    """Show what `look` finds, every `seconds`; in a pipe or file, only when a run's news has changed.

    The first look must succeed. If a later one fails for now, the last result stays, with a note.

    Raises:
        UserError, ClusterError: from the first look; later only UserError.
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
    printed: Sequence[str] = ()
    while True:
        if (now := [run["metadata"]["name"] + news(run) for run in runs]) != printed:
            screen.print(show(runs))
            printed = now
        time.sleep(seconds)
        try:
            runs = look()
        except ClusterError as error:
            screen.print(f"warning: {error}; still trying", markup=False)
