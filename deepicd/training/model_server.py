"""A vLLM server that the run starts before a stage and ends after it, for the reward's judge or the teacher."""

from __future__ import annotations

import os
import secrets
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import structlog

from deepicd.errors import CrashError, TerminatedError
from deepicd.training.device import device
from deepicd.training.launch import GuardedProcess, offline_environment
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Server:
    """A server to start."""

    who: str
    """Its role, for messages: `the judge`."""
    field: str
    """Field of run.yaml with its model, for messages."""
    command: Callable[[int], list[str]]
    """Its command, for a given port."""
    variables: Mapping[str, str]
    """Variables of its process."""
    log: Path
    endpoint_variable: str
    """Variable in which the stage's processes get its address."""
    key_variable: str
    """The same for its key."""
    patience_seconds: float
    """How long it may take to start (`recovery.stallAfter`)."""


def vllm_command(model: str, served_name: str, port: int) -> list[str]:
    """The command of a vLLM server on loopback, for a `GuardedProcess`. Its key comes by the environment."""
    return [
        *device().python("{scratch}", threads=len(os.sched_getaffinity(0))), "-m", "vllm.entrypoints.openai.api_server",
        "--model", model, "--served-model-name", served_name, "--host", "127.0.0.1", "--port", str(port),
        "--enable-prefix-caching",
        "--generation-config", "vllm",
        "--disable-uvicorn-access-log",
        *device().server_arguments,
    ]  # fmt: skip


@contextmanager
def serving(server: Server, files: StageFiles, stop: Stop, *, needed: bool) -> Iterator[Mapping[str, str]]:
    """Run a server during the body.

    Args:
        server: what to start.
        files: of the stage.
        stop: whether to stop.
        needed: whether the stage fails if the server ends during the body.

    Yields:
        Variables for the stage's processes: the server's address and key.

    Raises:
        CrashError: it does not start.
        TerminatedError: a stop was requested before it was up.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    port, key = _free_port(), secrets.token_urlsafe(24)
    variables = {
        **offline_environment(),
        **device().server_environment,
        **server.variables,
        "VLLM_API_KEY": key,
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    process = GuardedProcess(server.command(port), variables, server.log)
    ended = threading.Event()
    watcher = threading.Thread(target=_report_end, args=(server, process, files, ended), daemon=True)
    try:
        began = time.monotonic()
        _wait_until_up(server, process, f"http://127.0.0.1:{port}/health", stop)
        structlog.get_logger().info(
            f"{server.who}'s server is up", seconds=round(time.monotonic() - began), log=str(server.log)
        )
        if needed:
            watcher.start()
        yield {server.endpoint_variable: f"http://127.0.0.1:{port}/v1", server.key_variable: key}
    finally:
        ended.set()
        process.end()
        if watcher.ident is not None:
            watcher.join()


def _wait_until_up(server: Server, process: GuardedProcess, url: str, stop: Stop) -> None:
    deadline = time.monotonic() + server.patience_seconds
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        if stop.requested:
            raise TerminatedError(f"stopped on request before {server.who}'s server was up: run again to resume")
        if process.poll() is not None:
            raise CrashError(f"{server.field}: its vLLM server did not start: see {server.log}")
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise CrashError(
                f"{server.field}: its vLLM server was not up after {server.patience_seconds:.0f} s (recovery.stallAfter): "
                f"see {server.log}"
            )
        time.sleep(_POLL_SECONDS)


def _report_end(server: Server, process: GuardedProcess, files: StageFiles, ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        if process.poll() is not None:
            files.report_failure(CrashError(f"{server.field}: its vLLM server ended: see {server.log}; run again to resume"))
            return


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
