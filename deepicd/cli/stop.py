"""SIGTERM and Ctrl-C: the first asks the run to leave at the next step's end, the second at once."""

from __future__ import annotations

import signal
from types import FrameType


class SignalStop:
    """Counts the signals that asked the run to stop."""

    def __init__(self) -> None:
        self._count = 0

    def install(self) -> None:
        """Listen to SIGTERM and SIGINT from now on."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._note)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._count += 1

    @property
    def requested(self) -> bool:
        """At least one signal arrived."""
        return self._count > 0

    @property
    def insisted(self) -> bool:
        """More than one did."""
        return self._count > 1
