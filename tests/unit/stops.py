"""Whether somebody asks a run to leave."""

from __future__ import annotations


class NeverStop:
    """Nobody does."""

    requested = False
    insisted = False

    def raise_when_requested(self, wanted: bool) -> None:
        pass
