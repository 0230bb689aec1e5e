"""`deepicd` as a user runs it: a process, its log lines, and what it leaves behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from deepicd.training.guard import shared_memory_of
from deepicd.training.supervise import workers


class DeepicdProcess:
    """One `deepicd run` with JSON logs; each of its lines is kept."""

    def __init__(self, *arguments: str, fault: Path | None = None, variables: dict[str, str] | None = None) -> None:
        environment = {**os.environ, **(variables or {})}
        if fault is not None:
            environment["PYTHONPATH"] = str(fault)
        self.lines: list[dict[str, Any]] = []
        self.text = ""
        self._shared_memory = shared_memory()
        self._temporary: set[str] = set()
        self.process = subprocess.Popen(
            [str(Path(sys.executable).with_name("deepicd")), *arguments, "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
        )  # fmt: skip

    def _read(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if line.startswith("{"):
                self.lines.append(json.loads(line))
                yield self.lines[-1]

    def wait_for_step(self, stage: str, step: int) -> None:
        """Read on until a stage made a step."""
        for line in self._read():
            if line.get("event") == "step" and line["stage"] == stage and line["step"] >= step:
                return
        raise AssertionError(f"ended before step {step} of {stage}: {self.text[-2000:]}{self._last_of_logs()}")

    def _last_of_logs(self) -> str:
        arguments = [str(each) for each in self.process.args]  # type: ignore[union-attr]  # a list, as given
        folder = Path(arguments[arguments.index("--dir") + 1])
        logs = sorted(folder.glob("stages/*/training.log"))
        return "".join(f"\n{log}:\n{log.read_text(errors='replace')[-6000:]}" for log in logs)

    def wait_for_worker(self, name: str, seconds: float = 120) -> psutil.Process:
        """Wait until Ray or vLLM has a process of this name in its tree."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for pid, found in workers(self.process.pid).items():
                if found == name:
                    return psutil.Process(pid)
            time.sleep(0.2)
        raise AssertionError(f"no {name} after {seconds} s")

    def finish(self) -> int:
        """Read to the end; the exit code."""
        for _ in self._read():
            pass
        return self.process.wait()

    def steps(self, stage: str) -> list[int]:
        """The steps of a stage that this process made."""
        return [line["step"] for line in self.lines if line.get("event") == "step" and line["stage"] == stage]

    def tree(self) -> list[psutil.Process]:
        """Its living descendants; their guards' temporary folders are noted."""
        tree = psutil.Process(self.process.pid).children(recursive=True)
        for child in tree:
            self._temporary |= {part for part in child.cmdline() if Path(part).name.startswith("dicd-")}
        return tree

    def left_behind(self, tree: list[psutil.Process], seconds: float = 30) -> list[str]:
        """Processes of its tree, shared memory and temporary folders that are still there after a while."""
        deadline = time.monotonic() + seconds
        while True:
            left = [f"process {process.pid}" for process in tree if process.is_running() and process.status() != "zombie"]
            left += sorted(shared_memory() - self._shared_memory - used_shared_memory())
            left += sorted(path for path in self._temporary if Path(path).exists())
            if not left or time.monotonic() > deadline:
                return left
            time.sleep(0.2)


def shared_memory() -> set[str]:
    """POSIX shared memory on this machine."""
    return {str(path) for path in Path("/dev/shm").iterdir()}


def used_shared_memory() -> set[str]:
    """What of it a living process has mapped: another run's, where tests share the machine."""
    return shared_memory_of(psutil.pids())
