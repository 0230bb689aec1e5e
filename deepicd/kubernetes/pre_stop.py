"""Before a pod of a Ray cluster ends: ask the run for a checkpoint, and wait until its processes have left the pod.

`python -m deepicd.kubernetes.pre_stop` is the preStop hook of every node. On the head `deepicd run` is a child of Ray and not
the container's own process, so that the kubelet's SIGTERM would reach Ray first. A worker has processes of training alone,
without which no checkpoint can be saved; and the pods of a run that is suspended or deleted are all told to end at once.
A pod without any of them has nothing to wait for.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

from deepicd.spec.environment import ATTEMPT_COMMAND, RUN_FOLDER
from deepicd.training.stage_files import StageFiles

_POLL_SECONDS = 0.2
# Ray puts a name where the program's path was: a class's for an actor, a function's for a task. The excluded ones are its own.
_ACTOR = re.compile(r"ray::(?!IDLE|SPILL_|RESTORE_|DELETE_|DashboardAgent|RuntimeEnvAgent|JobSupervisor)(?:[A-Z]|vLLM)|VLLM::")


def carries_out(found: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a command line is that command, with or without an interpreter before it, and wherever its program lies."""
    return list(found[-len(command) + 1 :]) == list(command[1:])


def is_actor(found: Sequence[str]) -> bool:
    """Whether a command line is that of a process which Ray or vLLM keep for a training stage."""
    return bool(found) and _ACTOR.match(found[0]) is not None


def leave(command: Sequence[str], stage: StageFiles, actor: Callable[[Sequence[str]], bool] = is_actor) -> None:
    """Ask the run that carries out `command` to stop, or from a worker its training `stage`; returns when all has ended."""
    if runs := _processes(lambda line: carries_out(line, command)):
        for process in runs:
            process.terminate()
        _wait(runs)
    elif _processes(actor):
        stage.stop_request.touch()
    while actors := _processes(actor):
        _wait(actors)


def _processes(wanted: Callable[[Sequence[str]], bool]) -> list[psutil.Process]:
    found = psutil.process_iter(["cmdline"])
    return [process for process in found if wanted(process.info["cmdline"] or []) and _lives(process)]


def _wait(processes: Sequence[psutil.Process]) -> None:
    """Until they have ended, whoever reaps them."""
    while any(_lives(process) for process in processes):
        time.sleep(_POLL_SECONDS)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


if __name__ == "__main__":
    # The kubelet ends the waiting with the grace period.
    leave(ATTEMPT_COMMAND, StageFiles(Path(RUN_FOLDER) / "stages" / "grpo"))
