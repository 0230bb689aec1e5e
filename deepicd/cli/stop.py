"""SIGTERM and Ctrl-C: the first asks the run to stop after the current step, the second immediately."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from deepicd.errors import TerminatedError


class SignalStop:
    """Counts the signals that asked the run to stop."""

    def __init__(self) -> None:
        self._count = 0
        self._raise = False
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)

    def install(self) -> None:
        """Handle SIGTERM and SIGINT from now on; a SIGINT that was ignored at start stays ignored."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            if signum == signal.SIGTERM or signal.getsignal(signum) is not signal.SIG_IGN:
                signal.signal(signum, self._note)

    def acknowledge(self, say: Callable[[int], None]) -> None:
        """Call `say` with the number of signals after each one, those so far included, from a thread of its own.

        A signal handler must not print: it may have interrupted the printing of a line, whose lock it would wait for.
        """

        def work() -> None:
            said = 0
            while os.read(self._reader, 1):
                said += 1
                say(said)

        threading.Thread(target=work, name="deepicd-signals", daemon=True).start()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._count += 1
        with contextlib.suppress(BlockingIOError):
            os.write(self._writer, b"\0")
        if self._raise:
            self._raise = False
            raise TerminatedError("stopped on request: run again to resume")

    def raise_when_requested(self, wanted: bool) -> None:
        """See `deepicd.training.supervise.Stop`."""
        self._raise = wanted

    @property
    def requested(self) -> bool:
        """At least one signal arrived."""
        return self._count > 0

    @property
    def insisted(self) -> bool:
        """More than one signal arrived."""
        return self._count > 1
