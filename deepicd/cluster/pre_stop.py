"""Before a pod of a Ray cluster ends: ask its `deepicd run` for a checkpoint, and wait until it has left.

`python -m deepicd.cluster.pre_stop` is the head's preStop hook. There `deepicd run` is a child of Ray and not the container's
own process, so that the kubelet's SIGTERM would reach Ray first. A pod without `deepicd run` has nothing to wait for.
"""

from __future__ import annotations

import psutil

from deepicd.spec.environment import ATTEMPT_COMMAND


def main() -> None:
    """SIGTERM to `deepicd run`; the kubelet ends the waiting with the grace period."""
    runs = [process for process in psutil.process_iter(["cmdline"]) if is_run(process.info["cmdline"] or [])]
    for process in runs:
        process.terminate()
    psutil.wait_procs(runs)


def is_run(command: list[str]) -> bool:
    """Whether a command line is the attempt's `deepicd run`, with or without the interpreter before it."""
    return command[-len(ATTEMPT_COMMAND) + 1 :] == list(ATTEMPT_COMMAND[1:])


if __name__ == "__main__":
    main()
