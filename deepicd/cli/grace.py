"""How an uploader handles SIGTERM, and how long it continues after it.

A pod's grace period begins with the preStop hooks. A sidecar gets SIGTERM later, when the trainer has ended, and SIGKILL
does not wait for it. The uploader's hook writes the time to a file, and the uploader counts the period from it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from deepicd.errors import ExitCode

REPORT_RESERVE_SECONDS = 3.0
"""Uploads are abandoned this long before the period ends, to report what is missing; at most half of the period."""
KUBELET_SECONDS = 2.0
"""Least time that the kubelet leaves between SIGTERM and SIGKILL, even at the end of the period."""
_LEAST_SECONDS = 0.5
"""Least time for the uploads: enough for the last lines of a log."""


_CLOCK_TICKS = 0.1
"""Largest difference between two of the kernel's times of one moment, in seconds."""


class Signals:
    """SIGTERM or Ctrl-C: the first requests the end, the second ends the process."""

    def __init__(self) -> None:
        self.asked: float | None = None
        """When the first came, by `time.monotonic()`."""
        # A signal just before a wait for a lock would not end that wait; a byte in a pipe stays there.
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._note)

    def wait(self, seconds: float | None = None) -> None:
        """Wait for a signal or `wake`, at most `seconds`."""
        if select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, 64)

    def wake(self) -> None:
        """End a `wait`, from any thread."""
        os.write(self._writer, b"\0")

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self.asked is not None:
            os._exit(ExitCode.TERMINATED)
        self.asked = time.monotonic()


@dataclass(frozen=True)
class Grace:
    """Two deadlines, in seconds of `time.monotonic()`."""

    give_up: float
    """What is not stored by then counts as missing."""
    end: float
    """The process has ended by then."""


def grace(period: float, asked: float, began: float | None) -> Grace:
    """`period`: seconds in all; `asked`: time of SIGTERM; `began`: when the pod's termination began, if known."""
    start = asked if began is None else min(began, asked)
    end = max(start + period, asked + KUBELET_SECONDS)
    give_up = start + period - min(REPORT_RESERVE_SECONDS, period / 2)
    return Grace(max(give_up, asked + min(_LEAST_SECONDS, period / 2)), end)


def termination_began(mark: Path | None) -> float | None:
    """When the hook wrote its mark, by `time.monotonic()`, or None."""
    try:
        # Not the file's own time: that may be a file server's.
        marked = float(mark.read_text().split()[0]) if mark is not None else None
    except (OSError, ValueError, IndexError):
        return None
    return None if marked is None else time.monotonic() - max(0.0, _uptime() - marked)


def began_before_us(mark: Path | None) -> bool:
    """Whether termination began while this process started up: as a container's first process it then misses the SIGTERM."""
    began = termination_began(mark)
    return began is not None and began >= _started() - _CLOCK_TICKS


def _uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def _started() -> float:
    """When this process started, by `time.monotonic()`."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.monotonic() - (_uptime() - ticks / os.sysconf("SC_CLK_TCK"))
