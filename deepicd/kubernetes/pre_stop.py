"""Before a pod of a Ray cluster ends: ask the run for a checkpoint, and wait until its processes in the pod have ended.

`python -m deepicd.kubernetes.pre_stop` is the preStop hook of every node. On the head `deepicd run` is a child of Ray, not
the container's own process, so the kubelet's SIGTERM would reach Ray first. A worker has only training processes,
without which no checkpoint can be saved; and the pods of a suspended or deleted run are all terminated at the same time.
A pod without such processes has nothing to wait for.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.environment import ATTEMPT_COMMAND, RUN_FOLDER
from deepicd.training.process_names import worker_name

_POLL_SECONDS = 0.2


def is_command(found: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a command line is that command, with or without an interpreter before it, wherever its program is."""
    return list(found[-len(command) + 1 :]) == list(command[1:])


def leave(command: Sequence[str], stage: StageLayout, is_worker: Callable[[Sequence[str]], object] = worker_name) -> None:
    """Ask the run with this `command` to stop, or on a worker the training `stage`; returns when all processes have ended."""
    if runs := _processes(lambda line: is_command(line, command)):
        for process in runs:
            process.terminate()
        _wait(runs)
    elif _processes(is_worker):
        stage.stop_request.touch()
    while workers := _processes(is_worker):
        _wait(workers)


def _processes(wanted: Callable[[Sequence[str]], object]) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if wanted(process.info["cmdline"] or []) and _lives(process)]


def _wait(processes: Sequence[psutil.Process]) -> None:
    """Wait until they have ended, whichever process reaps them."""
    while any(_lives(process) for process in processes):
        time.sleep(_POLL_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    # The kubelet ends the wait with the grace period.
    leave(ATTEMPT_COMMAND, RunLayout(Path(RUN_FOLDER)).stage("grpo"))
