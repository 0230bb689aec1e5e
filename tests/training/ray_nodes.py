"""A Ray cluster of several nodes on this machine: raylets that know each other as if on separate machines."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ray._private.state import GlobalState
from ray._raylet import GcsClientOptions  # type: ignore[attr-defined]  # compiled; Ray's stub leaves it out

from deepicd.training.cpu.device import Cpus
from deepicd.training.guard import end_orphans
from deepicd.training.launch import offline_environment
from tests.cluster.daemon import free_ports


@dataclass
class RayNodes:
    """A Ray cluster."""

    address: str
    python: str
    """A Python for Ray's workers, whose processes are forks: on two cores, imports would be most of the time."""
    state: GlobalState
    """Ray's control service. Starting a driver would take seconds, in which a short run ends."""

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a command that joins the cluster."""
        return {"RAY_ADDRESS": self.address}

    def idle_gpus(self) -> list[float]:
        """Idle GPUs of each node."""
        return [resources.get("GPU", 0) for resources in self.state.available_resources_per_node().values()]

    def idle_gpus_once_all_are(self, seconds: float = 30) -> list[float]:
        """The same as soon as no part of a GPU is taken, or after a while: Ray's nodes report it a little later."""
        deadline = time.monotonic() + seconds
        while min(idle := self.idle_gpus()) < 1 and time.monotonic() < deadline:
            time.sleep(0.2)
        return idle


@contextmanager
def ray_nodes(scratch: Path, nodes: int) -> Iterator[RayNodes]:
    """A cluster whose nodes have one logical GPU each; its processes end with the context."""
    (port,) = free_ports(1)
    ray = str(Path(sys.executable).with_name("ray"))
    # The user may have a token for Ray clusters, which the head alone would ask for. By TMPDIR the processes are found again:
    # no other Ray of this machine has that one.
    environment = {**os.environ, **offline_environment(), "TMPDIR": str(scratch), "RAY_AUTH_MODE": "disabled"}
    common = ["--num-cpus=16", "--num-gpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
    starts = [[f"--port={port}", "--head", "--include-dashboard=false", f"--temp-dir={scratch}"]]
    address = f"127.0.0.1:{port}"
    starts += [[f"--address={address}"]] * (nodes - 1)
    state = GlobalState()
    wait = [*Cpus().python(str(scratch), threads=1), "-c", "import signal; signal.pause()"]
    with (scratch / "forks.log").open("wb") as log:
        forks = subprocess.Popen(
            wait, env={**environment, **Cpus.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        for start in starts:
            command = [ray, "start", *start, *common]
            # Its daemons have the standard input of whoever starts them.
            done = subprocess.run(
                command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
        state._initialize_global_state(
            GcsClientOptions.create(address, None, allow_cluster_id_nil=True, fetch_cluster_id_if_nil=True)
        )
        while not (scratch / "forks").exists():
            assert forks.poll() is None, (scratch / "forks.log").read_text()
            time.sleep(0.1)
        yield RayNodes(address, Cpus().worker_python(str(scratch)), state)
    finally:
        state.disconnect()
        end_orphans(str(scratch))
        forks.wait()
