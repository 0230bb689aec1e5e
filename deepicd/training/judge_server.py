"""A vLLM server for the reward's judge, which the run starts before a stage and ends after it."""

from __future__ import annotations

import secrets
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import structlog

from deepicd.errors import CrashError, TerminatedError
from deepicd.rewards.judge.judge import SERVED_NAME
from deepicd.spec.environment import JUDGE_API_KEY, JUDGE_ENDPOINT
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.launch import GuardedProcess, offline_environment
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop

_POLL_SECONDS = 0.5


def command(model: str, port: int) -> list[str]:
    """The command of the server. Its key comes by the environment."""
    return [
        sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", model,
        "--served-model-name", SERVED_NAME, "--host", "127.0.0.1", "--port", str(port),
        "--enable-prefix-caching",
        # Otherwise a model may write blanks up to its token limit.
        "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
        "--generation-config", "vllm",
        "--disable-uvicorn-access-log",
        *device().server_arguments,
    ]  # fmt: skip


@contextmanager
def judge_server(run: DeepICDRun, files: StageFiles, stop: Stop, *, needed: bool = True) -> Iterator[Mapping[str, str]]:
    """Run the judge's server during the body, if the run starts one. Its log is `files.judge_log`.

    Args:
        run: the run.
        files: of the stage.
        stop: whether to stop.
        needed: whether the stage fails if the server ends during the body.

    Yields:
        Variables for the stage's processes: the server's address and key, and the GPUs that it leaves them.

    Raises:
        CrashError: it does not start.
        TerminatedError: a stop was requested before it was up.
    """
    judge = run.spec.reward.judge
    if judge is None or judge.model is None:
        yield {}
        return
    files.folder.mkdir(parents=True, exist_ok=True)
    ours, its = device().split(run.spec.compute.gpus, judge.gpus)
    port, key = _free_port(), secrets.token_urlsafe(24)
    variables = {
        **offline_environment(),
        **device().server_environment,
        **its,
        "VLLM_API_KEY": key,
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    arguments = command(judge.model, port)
    if judge.gpus > 1:
        arguments += ["--tensor-parallel-size", str(judge.gpus)]
    process = GuardedProcess(arguments, variables, files.judge_log)
    ended = threading.Event()
    watcher = threading.Thread(target=_report_end, args=(process, files, ended), daemon=True)
    try:
        began = time.monotonic()
        _wait_until_up(process, f"http://127.0.0.1:{port}/health", files.judge_log, run, stop)
        structlog.get_logger().info(
            "the judge's server is up", seconds=round(time.monotonic() - began), log=str(files.judge_log)
        )
        if needed:
            watcher.start()
        yield {JUDGE_ENDPOINT: f"http://127.0.0.1:{port}/v1", JUDGE_API_KEY: key, **ours}
    finally:
        ended.set()
        process.end()
        if watcher.ident is not None:
            watcher.join()


def _wait_until_up(process: GuardedProcess, url: str, log: Path, run: DeepICDRun, stop: Stop) -> None:
    patience = run.spec.recovery.stall_after.total_seconds()
    deadline = time.monotonic() + patience
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while True:
        if stop.requested:
            raise TerminatedError("stopped on request before the judge's server was up: run again to resume")
        if process.poll() is not None:
            raise CrashError(f"reward.judge.model: its vLLM server did not start: see {log}")
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise CrashError(
                f"reward.judge.model: its vLLM server was not up after {patience:.0f} s (recovery.stallAfter): see {log}"
            )
        time.sleep(_POLL_SECONDS)


def _report_end(process: GuardedProcess, files: StageFiles, ended: threading.Event) -> None:
    while not ended.wait(_POLL_SECONDS):
        if process.poll() is not None:
            files.report_failure(
                CrashError(f"reward.judge.model: its vLLM server ended: see {files.judge_log}; run again to resume")
            )
            return


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port
