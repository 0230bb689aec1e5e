"""The console of tables, at most 80 columns wide."""

from __future__ import annotations

from rich.console import Console

_WIDTH = 80


def narrow_console() -> Console:
    """The terminal's, or one of 80 columns for a file or a pipe."""
    console = Console()
    return Console(width=min(console.width, _WIDTH)) if console.is_terminal else Console(width=_WIDTH)
