"""Before a pod of a Ray cluster ends: ask its `deepicd run` for a checkpoint, and wait until it has left.

`python -m deepicd.cluster.pre_stop` is the head's preStop hook. There `deepicd run` is a child of Ray and not the container's
own process, so that the kubelet's SIGTERM would reach Ray first. A pod without `deepicd run` has nothing to wait for.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import psutil

from deepicd.spec.environment import ATTEMPT_COMMAND

_POLL_SECONDS = 0.2


def end(command: Sequence[str]) -> None:
    """SIGTERM to the processes that carry out `command`; returns when they have ended, whoever reaps them."""
    runs = [process for process in psutil.process_iter(["cmdline"]) if carries_out(process.info["cmdline"] or [], command)]
    for process in runs:
        process.terminate()
    while any(_lives(process) for process in runs):
        time.sleep(_POLL_SECONDS)


def carries_out(found: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a command line is that command, with or without an interpreter before it, and wherever its program lies."""
    return list(found[-len(command) + 1 :]) == list(command[1:])


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    # The kubelet ends the waiting with the grace period.
    end(ATTEMPT_COMMAND)
