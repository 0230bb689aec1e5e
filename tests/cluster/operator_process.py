"""`deepicd-operator run` as a separate process."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.daemon import Daemon, Started, free_ports
from tests.cluster.forks import fork_server

START_SECONDS = 240
_ENTRY = "from deepicd_operator.main import app; app()"
# Shorter times for tests of errors that would only wait for them. A name that no longer exists is an error.
_HASTE = """
from datetime import timedelta
from deepicd_operator import cluster, controller, health, pod_state, process, read_snapshot, steps
for module, name, value in (
    (cluster, "REQUEST_SECONDS", 5.0),
    (controller, "REFUSAL_WAIT", timedelta(seconds=3)),
    (health, "SILENT_SECONDS", 8.0),
    (read_snapshot, "SLOW_START", timedelta(seconds=3)),
    (process, "START_RETRY", 0.5),
    (pod_state, "SLOW_UPLOAD", timedelta(seconds=1)),
    (steps, "SILENCE", timedelta(seconds=4)),
    (steps, "STALL_SLACK", timedelta(seconds=3)),
):
    assert type(getattr(module, name)) is type(value)
    setattr(module, name, value)
"""


class OperatorProcess(Daemon):
    """One operator, as the user that the kubeconfig names. Its log has a JSON object per line."""

    def __init__(
        self,
        kubeconfig: Path,
        folder: Path,
        *arguments: str,
        name: str = "operator",
        environment: Mapping[str, str] | None = None,
        hasty: bool = False,
    ) -> None:
        """`hasty`: it waits less than a real one, and is a fork of a process that has imported the operator."""
        (self.port,) = free_ports(1)
        self._arguments = ["run", f"--port={self.port}", *arguments]
        self._hasty = hasty
        command = [sys.executable, "-c", _ENTRY, *self._arguments]
        super().__init__(name, command, folder, {"KUBECONFIG": str(kubeconfig), **(environment or {})})

    def _start(self) -> Started:
        if self._hasty:
            return fork_server().start(self._arguments, self.log, self._folder, self._environment, before=_HASTE)
        return super()._start()

    def wait_until_serving(self) -> None:
        """Wait until its readiness probe succeeds."""
        self.wait_until_ready(lambda: self.get("/readyz")[0] == 200, START_SECONDS)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of `/healthz`, `/readyz` or `/metrics`; 0 if nothing listens."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException):
            return 0, ""
        finally:
            connection.close()
