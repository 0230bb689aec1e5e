"""Starts a training process under its guard, with the environment that it needs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deepicd.errors import CrashError, DeepICDError, ExitCode, UserError
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.device import device
from deepicd.training.guard import PATIENCE_SECONDS, end_orphans
from deepicd.training.stage_files import FOLDER_VARIABLE, SPEC_VARIABLE, StageFiles
from deepicd.training.step_metrics import next_launch


def training_environment(spec_file: Path, files: StageFiles, metrics: Path, checkpoints: LocalCheckpoints) -> dict[str, str]:
    """Variables for the processes of a training stage, on top of ours."""
    plugins = (*device().plugins, "deepicd.training.grpo_plugin")
    return {
        SPEC_VARIABLE: str(spec_file),
        FOLDER_VARIABLE: str(files.folder),
        **checkpoints.environment(),
        "VERL_FILE_LOGGER_PATH": str(metrics),
        "VERL_USE_EXTERNAL_MODULES": ",".join(plugins),
        **offline_environment(),
        **device().environment,
    }


def offline_environment() -> dict[str, str]:
    """Variables for every heavy process: no usage reports, and no network look-ups for cached files."""
    return {
        "RAY_USAGE_STATS_ENABLED": "0",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONUNBUFFERED": "1",
        # CUDA then numbers GPUs as the driver's library and nvidia-smi do.
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # Ray runs its workers at nice 15, at which they starve on a busy machine.
        "RAY_worker_niceness": "0",
        # There its node may also need more than the default 30 s to start.
        "RAY_raylet_start_wait_time_s": "180",
    }


_SHORT_TEMPORARY = "/tmp"  # noqa: S108 - mkdtemp makes a folder of our own below it
_LONGEST_TEMPORARY = 24
"""The paths of Ray's unix sockets are about 80 characters longer than the temporary folder's; the system allows 107."""


def wait_for_earlier(log: Path) -> None:
    """Wait until the guard of an earlier launch with the same log has ended its tree; if it was killed, clean up instead."""
    try:
        pid, scratch = log.with_suffix(".guard").read_text().split("\n")
    except (FileNotFoundError, ValueError):
        return
    deadline = time.monotonic() + 2 * PATIENCE_SECONDS
    while time.monotonic() < deadline and _is_guard(pid):
        time.sleep(0.1)
    if Path(scratch).exists():
        end_orphans(scratch)


def _is_guard(pid: str) -> bool:
    try:
        return "deepicd.training.guard" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False


def begin_launch(files: StageFiles) -> Path:
    """Wait for the end of a stage's earlier launch, and clear its signs; returns the metrics file of the next."""
    wait_for_earlier(files.log)
    for leftover in (files.stop_request, files.loop_entered, files.loop_left, files.failure, files.waiting_for_disk):
        leftover.unlink(missing_ok=True)
    files.metrics.mkdir(parents=True, exist_ok=True)
    return next_launch(files.metrics)


class GuardedProcess:
    """A command whose whole process tree ends when the command, the guard or this process ends."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], log: Path) -> None:
        """Start the command; its output is added to `log`.

        The temporary folder in `{scratch}` of the command is deleted with the tree. Its path is short, since Ray's
        unix sockets are below it.
        """
        wait_for_earlier(log)
        usual = tempfile.gettempdir()
        short = usual if len(usual) <= _LONGEST_TEMPORARY else _SHORT_TEMPORARY
        self.scratch = Path(tempfile.mkdtemp(prefix="dicd-", dir=short))
        # Everything temporary of the tree goes there too. A file of the user's in the working folder, such as yaml.py, is not
        # imported instead of a library.
        variables = {**os.environ, **environment, "TMPDIR": str(self.scratch), "PYTHONSAFEPATH": "1"}
        filled = [part.replace("{scratch}", str(self.scratch)) for part in command]
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deepicd.training.guard", str(os.getpid()), str(self.scratch), "--", *filled],
                env=variables, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip

        log.with_suffix(".guard").write_text(f"{self._process.pid}\n{self.scratch}")

    @property
    def pid(self) -> int:
        """Process id of the guard."""
        return self._process.pid

    def poll(self) -> int | None:
        """Exit code of the command, or None while it runs."""
        return self._process.poll()

    def wait(self) -> int:
        """Wait for the command to end; returns its exit code; an exception while waiting ends the tree."""
        try:
            return self._process.wait()
        finally:
            self.end()

    def end(self) -> None:
        """End the tree, and wait until it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        if self._process.wait() < 0:
            end_orphans(str(self.scratch))


def run_apart(module: str, arguments: Sequence[object], log: Path, failure: str) -> None:
    """Run `python -m MODULE` on a command line under a guard, to its end. The module returns `exit_code_of` its work.

    Raises:
        UserError: the last line of its log, if the user can fix what went wrong.
        CrashError: `failure`, and where its log is.
    """
    command = [sys.executable, "-m", module, *map(str, arguments)]
    code = GuardedProcess(command, offline_environment(), log).wait()
    if code == ExitCode.USER_ERROR:
        raise UserError(last_line(log))
    if code:
        raise CrashError(f"{failure}: see {log}")


def exit_code_of(act: Callable[[], None]) -> int:
    """Do the work of one of our processes; returns its exit code. A `DeepICDError` becomes the last line of its log."""
    try:
        act()
    except DeepICDError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return ExitCode.DONE


def last_line(log: Path) -> str:
    """The last line of such a process's log."""
    return log.read_text(errors="replace").strip().splitlines()[-1]
