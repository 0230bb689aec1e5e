"""Operators as forks of one process that has imported it: importing takes longer than most tests do with their operator."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_SERVE = """
import ctypes, json, os, signal, sys
from deepicd_operator import logs, main, process

def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)

def serve():
    for line in sys.stdin:
        request = json.loads(line)
        if "poll" in request:
            pid, status = os.waitpid(request["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if not answer:
                return request
        print(json.dumps(answer), flush=True)
    os._exit(0)

die_with_parent()
request = serve()
os.setsid()
die_with_parent()
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
os.dup2(log, 1)
os.dup2(log, 2)
os.chdir(request["folder"])
os.environ.clear()
os.environ.update(request["environment"])
sys.argv = ["deepicd-operator", *request["arguments"]]
exec(request["before"])
main.app()
"""


class Fork:
    """A fork, with what is used of `subprocess.Popen`."""

    def __init__(self, parent: ForkServer, pid: int) -> None:
        self.pid = pid
        self._parent = parent
        self._code: int | None = None

    def poll(self) -> int | None:
        """Its exit code, or None while it runs."""
        if self._code is None:
            self._code = self._parent.ask({"poll": self.pid})
        return self._code

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code. Raises: subprocess.TimeoutExpired."""
        deadline = time.monotonic() + (timeout if timeout is not None else 1e9)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("deepicd-operator", timeout or 0)
            time.sleep(0.02)
        return code

    def kill(self) -> None:
        """Kill it."""
        os.kill(self.pid, signal.SIGKILL)


class ForkServer:
    """The process that has imported the operator. It and its forks die with the test process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        self._lock = threading.Lock()

    def start(
        self, arguments: Sequence[str], log: Path, folder: Path, environment: Mapping[str, str], before: str = ""
    ) -> Fork:
        """Run `deepicd-operator ARGUMENT…` in a fork, after the statements of `before`."""
        request = {"arguments": list(arguments), "log": str(log), "folder": str(folder), "environment": dict(environment)}
        return Fork(self, int(self.ask({**request, "before": before})))

    def ask(self, request: Mapping[str, Any]) -> Any:
        """The answer to a request."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._process.stdout.readline())


_servers: list[ForkServer] = []


def fork_server() -> ForkServer:
    """The one of this test process."""
    if not _servers:
        _servers.append(ForkServer())
    return _servers[0]
