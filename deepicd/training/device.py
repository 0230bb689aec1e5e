"""The devices that train models: GPUs, or CPUs instead. Chosen once; everything that differs is a member here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from deepicd.errors import UserError


class Device:
    """GPUs: verl's and vLLM's own defaults."""

    plugins: tuple[str, ...] = ()
    """Modules that verl loads in each of its processes."""
    environment: Mapping[str, str] = {}
    """Variables of the processes of training."""
    engine: Mapping[str, Any] = {}
    """Arguments of vLLM's engine when it only generates."""
    engine_environment: Mapping[str, str] = {}
    """Variables of such a process."""
    server_arguments: tuple[str, ...] = ()
    """Arguments of a vLLM server."""
    server_environment: Mapping[str, str] = {}
    """Variables of its process."""
    sft_overrides: tuple[str, ...] = ()
    """verl overrides for SFT."""

    def grpo_overrides(self, max_tokens: int) -> list[str]:
        """verl overrides for GRPO, with prompt and completion of up to `max_tokens`."""
        return []

    def ray_overrides(self, gpus: int) -> list[str]:
        """verl overrides for the run's own Ray cluster, with `gpus` ranks."""
        return []

    def python(self, folder: str, threads: int) -> list[str]:
        """The Python command of a stage; `folder`: a temporary one, `threads`: of each process."""
        return [sys.executable]

    def worker_python(self, folder: str) -> str | None:
        """The Python of Ray's workers, once `python` has started; None for Ray's own choice."""
        return None

    def split(self, gpus: int, more: int) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """Variables that give one process tree `gpus` of this machine's GPUs, and another one `more`."""
        chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
        devices = chosen.split(",") if chosen else [str(number) for number in range(gpus + more)]
        first, second = devices[:gpus], devices[gpus : gpus + more]
        return {"CUDA_VISIBLE_DEVICES": ",".join(first)}, {"CUDA_VISIBLE_DEVICES": ",".join(second)}

    def describe(self, gpus: int) -> dict[str, Any]:
        """What the report says about the machine: `name`, and the number of `gpus` or `cores`."""
        return {"name": _gpu_name(), "gpus": gpus}

    def check(self, gpus: int) -> None:
        """Raises: UserError: this machine has fewer GPUs than that."""
        present = len(list(Path("/dev").glob("nvidia[0-9]*")))
        if present < gpus:
            raise UserError(f"spec.compute.gpus: {gpus} wanted, this machine has {present}: lower it")


def _gpu_name() -> str:
    """The GPUs' model, as the driver calls it; `GPU` where nvidia-smi does not answer."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True, timeout=30
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "GPU"
    return ", ".join(dict.fromkeys(line.strip() for line in found.stdout.splitlines() if line.strip())) or "GPU"


@cache
def device() -> Device:
    """The device that this environment was installed for."""
    from deepicd.training.cpu.device import Cpus, is_installed

    return Cpus() if is_installed() else Device()
