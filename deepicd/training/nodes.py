"""Checks the Ray cluster of a run on several nodes: is it up, large enough and idle, and does it share the run's folder?

A separate process checks it (`python -m deepicd.training.nodes NODES GPUS FOLDER`), since Ray's driver
must not run in the supervisor; it exits with 0, or with one line on stderr and 64, or 75 if nodes did not join in time.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepicd.errors import CrashError, ExitCode, StallError, TerminatedError, UserError
from deepicd.spec.environment import ATTEMPT
from deepicd.spec.run import DeepICDRun
from deepicd.training.launch import GuardedProcess, exit_code_of, last_line, offline_environment
from deepicd.training.supervise import Stop

ADDRESS = "RAY_ADDRESS"
"""Ray's own variable: host and port of the cluster's head. KubeRay and `ray job submit` set it."""
WAIT_SECONDS = 300.0
"""How long nodes may take to join, and the processes of an earlier stage to end."""
_POLL_SECONDS = 1.0
_CONNECT_SECONDS = 10.0


def wait_for_nodes(run: DeepICDRun, folder: Path, log: Path, stop: Stop, environment: Mapping[str, str] = os.environ) -> None:
    """Wait until `compute.nodes` nodes with `compute.gpus` idle GPUs each have joined and see `folder`; no wait for one node.

    Raises:
        UserError: there is no Ray cluster, it is too small, or its nodes do not share the folder.
        TerminatedError: a stop was requested during the wait.
        StallError: nodes that the operator has requested did not join; trying again may help.
    """
    compute = run.spec.compute
    if compute.nodes == 1:
        return
    check_address(compute.nodes, environment.get(ADDRESS, ""))
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "deepicd.training.nodes", str(compute.nodes), str(compute.gpus), str(folder)]
    process = GuardedProcess(command, offline_environment(), log)
    try:
        while (code := process.poll()) is None:
            if stop.requested:
                raise TerminatedError("stopped on request while waiting for the Ray cluster's nodes: run again to resume")
            time.sleep(_POLL_SECONDS / 4)
    finally:
        process.end()
    if code == ExitCode.TRY_LATER and environment.get(ATTEMPT):
        # The user cannot fix a cluster that the operator created for this attempt.
        raise StallError(last_line(log))
    if code in (ExitCode.TRY_LATER, ExitCode.USER_ERROR):
        raise UserError(last_line(log))
    if code:
        raise CrashError(f"could not get the nodes of the Ray cluster at {environment[ADDRESS]}: see {log}")


def check_address(nodes: int, address: str) -> None:
    """Raises: UserError: `RAY_ADDRESS` names no Ray cluster that answers."""
    remedy = "start the run on a Ray cluster, or lower it to 1"
    if not address:
        raise UserError(f"spec.compute.nodes: {nodes} nodes need a Ray cluster, and {ADDRESS} is not set: {remedy}")
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdecimal():
        raise UserError(f"{ADDRESS}: '{address}' is not HOST:PORT: give the address of the Ray cluster's head")
    try:
        socket.create_connection((host, int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise UserError(
            f"spec.compute.nodes: no Ray cluster answers at {address} ({error.strerror or error}): {remedy}"
        ) from None


def shortage(nodes: int, gpus: int, idle: Mapping[str, float]) -> str | None:
    """What is missing, in one line, or None; `idle`: idle GPUs by node."""
    fitting = sum(count >= gpus for count in idle.values())
    if fitting >= nodes:
        return None
    seen = ", ".join(f"{count:g}" for count in sorted(idle.values(), reverse=True))
    return (
        f"spec.compute.nodes: {nodes} with {gpus} idle GPUs each wanted, the Ray cluster has {fitting} "
        f"(nodes: {len(idle)}, idle GPUs: {seen or 'none'}): add nodes, or lower it"
    )


def _ask(nodes: int, gpus: int, folder: Path) -> None:
    import ray

    ray.init(address="auto", log_to_driver=False, logging_level="ERROR")
    deadline = time.monotonic() + WAIT_SECONDS
    while missing := shortage(nodes, gpus, idle := _idle_gpus()):
        if time.monotonic() > deadline:
            raise StallError(missing)
        time.sleep(_POLL_SECONDS)
    _check_shared(folder, [node for node, count in idle.items() if count >= gpus])


def _idle_gpus() -> dict[str, float]:
    # What verl itself looks at before it places its workers; Ray's public functions know only the cluster's total.
    import ray._private.state

    found: dict[str, Any] = ray._private.state.available_resources_per_node()
    return {node: float(resources.get("GPU", 0)) for node, resources in found.items()}


def _check_shared(folder: Path, nodes: list[str]) -> None:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    @ray.remote(num_cpus=0)  # type: ignore[untyped-decorator]
    def sees(path: str) -> tuple[bool, str]:
        return Path(path).exists(), socket.gethostname()

    with tempfile.NamedTemporaryFile(dir=folder, prefix="seen-by-all-") as mark:
        places = [NodeAffinitySchedulingStrategy(node, soft=False) for node in nodes]
        answers = ray.get([sees.options(scheduling_strategy=place).remote(mark.name) for place in places])
    if blind := [host for seen, host in answers if not seen]:
        raise UserError(
            f"{folder}: is not the same folder on node {blind[0]}: put the run's folder on a volume that all nodes share"
        )


def main(arguments: list[str]) -> int:
    """Command line: NODES GPUS FOLDER."""
    nodes, gpus, folder = arguments
    return exit_code_of(lambda: _ask(int(nodes), int(gpus), Path(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
