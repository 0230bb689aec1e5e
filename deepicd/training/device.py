"""The devices that train models, GPUs or CPUs. The device is chosen once; everything that differs is a member here."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from itertools import accumulate
from typing import Any

from deepicd.training.gpus import VISIBLE, check, present


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
    has_gpus = True
    """Whether the ranks of training are on GPUs."""
    seeds_completions = False
    """Whether `stages.grpo.reproducible: auto` draws each completion with its own seed, which takes a kernel each per token."""

    def generator(self, dtype: str, tensor_parallel: int, share: float = 0.9) -> dict[str, Any]:
        """Arguments of vLLM's engine when it only generates, with a model on `tensor_parallel` GPUs and a `share` of each."""
        return {"dtype": dtype, "tensor_parallel_size": tensor_parallel, "gpu_memory_utilization": share, **self.engine}

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

    def split(self, *sizes: int) -> list[Mapping[str, str]]:
        """Variables that give each of several process trees so many of this machine's GPUs."""
        devices = _devices(sum(sizes), os.environ.get(VISIBLE))
        ends = list(accumulate(sizes))
        return [{VISIBLE: ",".join(devices[end - size : end])} for size, end in zip(sizes, ends, strict=True)]

    def parallel_arguments(self, gpus: int, tensor_parallel: int) -> list[str]:
        """Arguments of a vLLM server with `gpus / tensor_parallel` copies of a model, each on `tensor_parallel` GPUs."""
        sizes = {"--tensor-parallel-size": tensor_parallel, "--data-parallel-size": gpus // tensor_parallel}
        return [part for name, size in sizes.items() if size > 1 for part in (name, str(size))]

    def colocated_arguments(self, share: float, *, sleeps: bool) -> list[str]:
        """Arguments of a vLLM server with a `share` of GPUs that others use too; `sleeps`: whether it can give the share
        back.
        """
        return ["--gpu-memory-utilization", str(share), *(["--enable-sleep-mode"] if sleeps else [])]

    def engines(self, gpus: int, each: int, variables: Mapping[str, str]) -> list[dict[str, str]]:
        """Variables of each engine that generates; `variables` are those of the process that starts them.

        `gpus`: of this machine's GPUs in all; `each`: of one engine.
        """
        devices = _devices(gpus, variables.get(VISIBLE) or os.environ.get(VISIBLE))[:gpus]
        full = [devices[start : start + each] for start in range(0, len(devices) - each + 1, each)]
        return [{VISIBLE: ",".join(own)} for own in full] or [{}]

    def describe(self, gpus: int) -> dict[str, Any]:
        """The machine, for the report: `name`, and the number of `gpus` or `cores`."""
        return {"name": _gpu_name(), "gpus": gpus}

    def check(self, gpus: int) -> None:
        """Raises: UserError: this machine does not have that many GPUs that can train together."""
        check(gpus, os.environ.get(VISIBLE), present())


def _gpu_name() -> str:
    """The GPUs' model, as the driver names it; `GPU` if nvidia-smi does not answer."""
    try:
        found = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=True, timeout=30
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return "GPU"
    return ", ".join(dict.fromkeys(line.strip() for line in found.stdout.splitlines() if line.strip())) or "GPU"


def _devices(count: int, chosen: str | None) -> list[str]:
    """The name of each GPU in CUDA_VISIBLE_DEVICES: as it is set, or the GPUs that are present, or the first `count`."""
    return chosen.split(",") if chosen else [gpu.named for gpu in present()] or [str(number) for number in range(count)]


@cache
def device() -> Device:
    """The device that this environment was installed for."""
    from deepicd.training.cpu.device import Cpus, is_installed

    return Cpus() if is_installed() else Device()
