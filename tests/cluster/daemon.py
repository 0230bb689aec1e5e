"""A process that a test starts and that ends with the test in any case."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import psutil

_PR_SET_PDEATHSIG = 1
# Below the range of ports for outgoing connections, so that none of them takes such a port in between, and above SeaweedFS's.
_FIRST_PORT, _LAST_PORT = 28000, 32000
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def free_ports(count: int) -> list[int]:
    """Free ports on loopback."""
    found: list[int] = []
    # A port is free until its daemon takes it, so each test process chooses from a separate range.
    room = (_LAST_PORT - _FIRST_PORT) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first = _FIRST_PORT + room * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    candidate = first + (time.time_ns() // 1000) % room
    while len(found) < count:
        candidate = candidate + 1 if candidate < first + room - 1 else first
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
        found.append(candidate)
    return found


def _die_with_parent() -> None:
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Started(Protocol):
    """A process, as `subprocess.Popen` has it."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


class Daemon:
    """One process; what it writes goes to `folder/NAME.log`. It can be started again.

    It dies with the thread that started it: start it in the main thread. It inherits the environment but for its proxies,
    since it talks to this machine alone; `environment` is added to that.
    """

    def __init__(
        self, name: str, command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command = [str(part) for part in command]
        self._folder = folder
        inherited = {key: value for key, value in os.environ.items() if not key.upper().endswith("_PROXY")}
        self._environment = {**inherited, **(environment or {})}
        self._process: Started | None = None

    def start(self) -> None:
        """Start it, without waiting for it to be ready."""
        assert self._process is None, f"{self.name} runs already"
        self._process = self._start()

    def _start(self) -> Started:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._folder, env=self._environment,
                start_new_session=True, preexec_fn=_die_with_parent,  # noqa: PLW1509  (one system call)
            )  # fmt: skip

    def wait_until_ready(self, ready: Callable[[], bool], seconds: float) -> None:
        """Wait until it reports ready; its death ends the wait."""
        deadline = time.monotonic() + seconds
        while not ready():
            assert self.running, f"{self.name} ended at its start: {self.tail()}"
            assert time.monotonic() < deadline, f"{self.name} is not ready after {seconds:.0f} s: {self.tail()}"
            time.sleep(0.05)

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    @property
    def memory(self) -> int:
        """Resident memory in bytes, including the program itself."""
        return int(psutil.Process(self.pid).memory_info().rss)

    def kill(self) -> None:
        """Kill it."""
        self.stop(signal.SIGKILL)

    def stop(self, number: int = signal.SIGTERM, seconds: float = 30) -> int | None:
        """End it with a signal; its exit code. One that does not end in time is killed."""
        process, self._process = self._process, None
        if process is None:
            return None
        if process.poll() is None:
            os.kill(process.pid, number)
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def tail(self, size: int = 3000) -> str:
        """The end of its log."""
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""
