"""Starts the processes of training as forks of one that has imported the heavy libraries.

`python -m deepicd.training.cpu.fork_server FOLDER ARGUMENT…` imports them, does in a fork what `python ARGUMENT…` would do, and
forks again for each process that is started with `FOLDER/python`, a stand-in Python executable (see `fork_client`): Ray's
workers, the ranks of torchrun, and what multiprocessing spawns in a fork. It ends with the first fork, and exits with its exit
code. On two cores these imports, once for each of nine processes, would take most of the start-up time. Not used for
GPUs, because CUDA does not survive a fork.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import json
import multiprocessing.process
import os
import runpy
import selectors
import shlex
import signal
import socket
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

STACK = ("torch", "tensordict", "transformers.processing_utils", "datasets", "peft", "fastapi", "vllm.distributed")
"""Modules that most training processes import. Not Ray or modules that need it: it reads the environment when it is loaded."""

Act = Callable[[], None]
"""The work of a fork."""

_MOST_DESCRIPTORS = 253
"""The kernel's limit for one message."""

_FIRST_VARIABLE = "DEEPICD_FORK_SERVER"
"""First in the server's environment, and never changed in a fork: setproctitle, which names vLLM's engines, finds the place of
the title by walking back from the first variable's text, and silently sets none if that has moved."""


@dataclass(frozen=True)
class Request:
    """The process that a client requests."""

    arguments: list[str]
    """Python's arguments."""
    environment: dict[str, str]
    folder: str
    numbers: list[int]
    """The client's descriptors, which the process inherits."""
    descriptors: list[int]
    """Their numbers in this process, in the same order."""

    @classmethod
    def receive(cls, connection: socket.socket) -> Request | None:
        """Read what `fork_client` has sent; None if the client ended before that."""
        content, descriptors, _, _ = socket.recv_fds(connection, 2**20, _MOST_DESCRIPTORS)
        while not content.endswith(b"\n"):
            if not (more := connection.recv(2**20)):
                for descriptor in descriptors:
                    os.close(descriptor)
                return None
            content += more
        return cls(**json.loads(content), descriptors=descriptors)

    def become(self) -> None:
        """Turn this process into the requested one, and run what its arguments say."""
        for name in os.environ.keys() - self.environment.keys() - {_FIRST_VARIABLE}:
            del os.environ[name]
        os.environ.update({name: value for name, value in self.environment.items() if name != _FIRST_VARIABLE})
        os.chdir(self.folder)
        multiprocessing.process.ORIGINAL_DIR = self.folder  # type: ignore[attr-defined]  # that of spawned programs
        # Move them out of the way first, because one descriptor may have the number that another must get.
        above = max(self.numbers, default=0) + 1
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, above) for descriptor in self.descriptors]
        for descriptor in self.descriptors:
            os.close(descriptor)
        for number, descriptor in zip(self.numbers, moved, strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        run(self.arguments)


def run(arguments: list[str]) -> None:
    """Run what `python ARGUMENT…` would: `-c CODE`, `-m MODULE` or a program's path, after options, which a fork ignores."""
    while arguments[0].startswith("-") and arguments[0] not in ("-c", "-m"):
        arguments = arguments[1:]
    match arguments:
        case ["-c", code, *rest]:
            sys.argv = ["-c", *rest]
            _look_first_in("")
            sys.modules["__main__"] = types.ModuleType("__main__")
            exec(compile(code, "<string>", "exec"), sys.modules["__main__"].__dict__)  # noqa: S102 - the client's own code
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            _look_first_in(str(Path.cwd()))
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [program, *_]:
            sys.argv = arguments
            _look_first_in(str(Path(program).parent))
            runpy.run_path(program, run_name="__main__")


def _look_first_in(folder: str) -> None:
    """Set the entry of sys.path that Python puts before all others, or leaves out under PYTHONSAFEPATH."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


class ForkServer:
    """Forks, reports to each client how its fork ended, and ends the fork of a client that has ended."""

    def __init__(self, address: str) -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(address)
        self._listener.listen(64)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._clients: dict[int, socket.socket] = {}
        """By process id of their forks."""

    def serve(self, main: Act) -> int | Act:
        """Run `main` in a fork, and answer clients until it has ended; returns its exit code.

        In a fork, returns the fork's work, to call after unwinding.
        """
        if not (main_pid := self._fork()):
            return main
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    if act := self._answer():
                        return act
                elif isinstance(key.fileobj, socket.socket):
                    self._end_fork(key.data)
                else:
                    code = self._note_end(key.fd, key.data)
                    if key.data == main_pid:
                        return code if code >= 0 else 128 - code

    def _answer(self) -> Act | None:
        connection, _ = self._listener.accept()
        if not (request := Request.receive(connection)):
            connection.close()
            return None
        if not (pid := self._fork()):
            connection.close()
            return request.become
        for descriptor in request.descriptors:
            os.close(descriptor)
        self._clients[pid] = connection
        self._selector.register(connection, selectors.EVENT_READ, pid)
        return None

    def _fork(self) -> int:
        if pid := os.fork():
            self._selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
            return pid
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
            else:
                os.close(key.fd)
        self._selector.close()
        import numpy  # not before the restart

        numpy.random.seed()  # forks would draw the same numbers; Python's own generator does that itself
        return 0

    def _end_fork(self, pid: int) -> None:
        """A client sends nothing after its request, so anything here means that it has ended: end its fork."""
        if client := self._clients.pop(pid, None):
            self._selector.unregister(client)
            client.close()
            os.kill(pid, signal.SIGTERM)

    def _note_end(self, descriptor: int, pid: int) -> int:
        self._selector.unregister(descriptor)
        os.close(descriptor)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if client := self._clients.pop(pid, None):
            self._selector.unregister(client)
            with client, contextlib.suppress(OSError):  # its parent may have ended it already
                client.sendall(str(code).encode())
        return code


def _restart_with_first_variable() -> None:
    """Restart this process with `_FIRST_VARIABLE` first in its environment; returns once that is done."""
    if os.environ.get(_FIRST_VARIABLE) != (pid := str(os.getpid())):
        variables = {name: value for name, value in os.environ.items() if name != _FIRST_VARIABLE}
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {_FIRST_VARIABLE: pid, **variables})  # noqa: S606 - our own command line


def main(arguments: Sequence[str], stack: Sequence[str] = STACK) -> int | Act:
    """See the module's docstring."""
    _restart_with_first_variable()
    folder, *first = arguments
    address, python = Path(folder) / "forks", Path(folder) / "python"
    client = shlex.join([sys.executable, "-IS", str(Path(__file__).with_name("fork_client.py")), str(address)])
    python.write_text(f'#!/bin/sh\nexec {client} "$@"\n')
    python.chmod(0o700)
    gc.disable()  # it takes a sixth of the imports' time; one collection afterwards finds the same
    for name in ("numpy", *stack):
        importlib.import_module(name)
    gc.enable()
    gc.collect()
    gc.freeze()  # pages that the collector does not touch stay shared
    multiprocessing.set_executable(str(python))
    os.environ["PYTHON_EXEC"] = str(python)  # torchrun's variable
    return ForkServer(str(address)).serve(lambda: run(first))


if __name__ == "__main__":
    outcome = main(sys.argv[1:])
    if isinstance(outcome, int):
        sys.exit(outcome)
    outcome()
