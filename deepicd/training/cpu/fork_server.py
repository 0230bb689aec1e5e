"""Starts GRPO and its Ray workers as forks of one process that has imported the heavy libraries.

`python -m deepicd.training.cpu.fork_server ADDRESS MODULE ARGUMENT…` imports them, runs MODULE in a fork, and forks again for
each request of `fork_client` at the unix socket ADDRESS, until MODULE ends; it exits with MODULE's exit code. On two cores
these imports, once for each of nine processes, are most of a start. Not for GPUs: CUDA does not survive a fork.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import runpy
import selectors
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy

STACK = ("torch", "tensordict", "transformers.processing_utils", "datasets", "peft", "fastapi", "vllm.distributed")
"""What all processes of GRPO import. Not Ray, nor what needs it: its library reads the environment when it is loaded."""

Act = Callable[[], None]
"""What a fork has to do."""


@dataclass(frozen=True)
class Request:
    """The process that a client wants."""

    arguments: list[str]
    """Path of the program, and what it is told."""
    environment: dict[str, str]
    folder: str
    descriptors: list[int]
    """Standard output and error."""

    @classmethod
    def receive(cls, connection: socket.socket) -> Request | None:
        """Read what `fork_client` has sent; None where it was ended before it had."""
        content, descriptors, _, _ = socket.recv_fds(connection, 2**20, 2)
        while not content.endswith(b"\n"):
            if not (more := connection.recv(2**20)):
                for descriptor in descriptors:
                    os.close(descriptor)
                return None
            content += more
        return cls(**json.loads(content), descriptors=descriptors)

    def become(self) -> None:
        """Make this process one that was started for the request, and run its program."""
        os.environ.clear()
        os.environ.update(self.environment)
        os.chdir(self.folder)
        for wanted, descriptor in enumerate(self.descriptors, start=1):
            os.dup2(descriptor, wanted)
            os.close(descriptor)
        sys.argv = self.arguments
        sys.path[0] = str(Path(self.arguments[0]).parent)
        runpy.run_path(self.arguments[0], run_name="__main__")


class ForkServer:
    """Forks, and tells each client how its fork has ended."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: dict[int, socket.socket] = {}
        """By process id of their forks."""

    def serve(self, main: Act) -> int | Act:
        """Run `main` in a fork, and answer clients until it has ended: its exit code.

        In a fork, what that has to do, for the bottom of the stack.
        """
        if not (main_pid := self._fork()):
            return main
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    connection, _ = self._listener.accept()
                    if not (request := Request.receive(connection)):
                        connection.close()
                        continue
                    if not (pid := self._fork()):
                        connection.close()
                        return request.become
                    for descriptor in request.descriptors:
                        os.close(descriptor)
                    self._clients[pid] = connection
                    continue
                code = self._end_of(key.fd, key.data)
                if key.data == main_pid:
                    return code if code >= 0 else 128 - code

    def _fork(self) -> int:
        if pid := os.fork():
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
            return pid
        self._selector.close()
        for each in (self._listener, *self._clients.values()):
            each.close()
        numpy.random.seed()  # forks would draw the same numbers; Python's own generator sees to that itself
        return 0

    def _end_of(self, descriptor: int, pid: int) -> int:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if client := self._clients.pop(pid, None):
            with client, contextlib.suppress(OSError):  # Ray may have ended it already
                client.sendall(str(code).encode())
        return code


def main(arguments: Sequence[str], stack: Sequence[str] = STACK) -> int | Act:
    """See the module's text."""
    address, module, *rest = arguments
    # What Ray sets for each of its workers, too late for libraries that are loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    for name in stack:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # pages that the collector does not touch stay shared

    def run_module() -> None:
        sys.argv[1:] = rest
        runpy.run_module(module, run_name="__main__", alter_sys=True)

    return ForkServer(address).serve(run_module)


if __name__ == "__main__":
    outcome = main(sys.argv[1:])
    if isinstance(outcome, int):
        sys.exit(outcome)
    outcome()
