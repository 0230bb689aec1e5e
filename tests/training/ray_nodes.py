"""A Ray cluster of several nodes on this machine: raylets that know of each other as if they were apart."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepicd.training.guard import end_orphans
from deepicd.training.launch import offline_environment


@contextmanager
def ray_nodes(scratch: Path, nodes: int) -> Iterator[str]:
    """Address of a cluster whose nodes have one logical GPU each; its processes end with the context."""
    port = "26379"
    ray = str(Path(sys.executable).with_name("ray"))
    # The user may have a token for Ray clusters, which the head alone would ask for. By TMPDIR the processes are found again:
    # no other Ray of this machine has that one.
    environment = {**os.environ, **offline_environment(), "TMPDIR": str(scratch), "RAY_AUTH_MODE": "disabled"}
    common = ["--num-cpus=16", "--num-gpus=1", "--object-store-memory=100000000", "--disable-usage-stats"]
    starts = [[f"--port={port}", "--head", "--include-dashboard=false", f"--temp-dir={scratch}"]]
    starts += [[f"--address=127.0.0.1:{port}"]] * (nodes - 1)
    try:
        for start in starts:
            command = [ray, "start", *start, *common]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        yield f"127.0.0.1:{port}"
    finally:
        end_orphans(str(scratch))
