"""verl platform plugin `cpu`: the stand-in for a missing GPU.

verl loads this module in each of its processes (`VERL_USE_EXTERNAL_MODULES`). Each patch below says what it fixes in
verl 0.9.1 or vLLM 0.24.0.
"""

from __future__ import annotations

import importlib.metadata
import os
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import torch
import torch.distributed
import torch.distributed.fsdp
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

from deepicd.training.cpu.vllm_plugin import keep_linear_weights
from deepicd.training.imports import after_import


def _resident_bytes(*_: Any, **__: Any) -> int:
    return int(psutil.Process().memory_info().rss)


def _free_and_total(*_: Any) -> tuple[int, int]:
    memory = psutil.virtual_memory()
    return memory.available, memory.total


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _device_module() -> types.ModuleType:
    """`torch.cpu`, with the rest of what verl calls on `torch.cuda`."""
    module = types.ModuleType("deepicd_torch_cpu")
    for name in dir(torch.cpu):
        if not name.startswith("__"):
            setattr(module, name, getattr(torch.cpu, name))
    for name in ("set_device", "synchronize", "empty_cache", "ipc_collect", "reset_peak_memory_stats",
                 "set_per_process_memory_fraction"):  # fmt: skip
        setattr(module, name, _nothing)
    for name in ("memory_allocated", "max_memory_allocated", "memory_reserved", "max_memory_reserved"):
        setattr(module, name, _resident_bytes)
    extras: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "mem_get_info": _free_and_total,
        "get_device_name": lambda *_: "cpu",
        "get_device_properties": lambda *_: types.SimpleNamespace(total_memory=_free_and_total()[1], name="cpu"),
        "get_rng_state": lambda *_: torch.get_rng_state(),
        "set_rng_state": lambda state, *_: torch.set_rng_state(state),
        "manual_seed": torch.manual_seed,
        "manual_seed_all": torch.manual_seed,
    }
    for name, value in extras.items():
        setattr(module, name, value)
    return module


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):  # type: ignore[misc]
    """verl's view of the CPU as one device per rank; Ray hands out logical GPUs."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _device_module()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int | None = None) -> tuple[None, None]:
        return (None, None)

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    def profiler_stop(self) -> None:
        pass

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_resource_options(self, num_gpus: float) -> dict[str, float]:
        return {"num_gpus": num_gpus}

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False  # weights go to vLLM over POSIX shared memory

    def rollout_env_vars(self) -> dict[str, str]:
        names = ("VLLM_CPU_KVCACHE_SPACE", "VLLM_CPU_OMP_THREADS_BIND")
        return {name: os.environ[name] for name in names if name in os.environ}

    def cudart(self) -> None:
        return None


_version = importlib.metadata.version


def _version_of_vllm(distribution_name: str) -> str:
    # verl asks for the distribution "vllm"; the CPU build is called "vllm-cpu", and vLLM knows it by "+cpu".
    if distribution_name == "vllm":
        return _version("vllm-cpu") + "+cpu"
    return _version(distribution_name)


importlib.metadata.version = _version_of_vllm


_init_process_group = torch.distributed.init_process_group


def _init_gloo(backend: str | None = None, *args: Any, **kwargs: Any) -> Any:
    # verl builds "cpu:gloo,<device>:<backend>", which names the device "cpu" twice here.
    return _init_process_group("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **kwargs)


torch.distributed.init_process_group = _init_gloo


def _without_pinned_memory(self: Any, pin_memory: bool = True) -> None:
    # With a reference policy, verl asks for pinned memory, which needs an accelerator.
    object.__setattr__(self, "pin_memory", False)


torch.distributed.fsdp.CPUOffloadPolicy.__init__ = _without_pinned_memory


def _poll_often(module: types.ModuleType) -> None:
    # verl looks for finished rollouts every 2 s, which is longer than a whole step of a tiny model.
    initialise = module.ReplayBuffer.__init__

    def initialise_polling_often(self: Any, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("poll_interval", 0.1)
        initialise(self, *args, **kwargs)

    module.ReplayBuffer.__init__ = initialise_polling_often


after_import("verl.trainer.ppo.v1.replay_buffer", _poll_often)
keep_linear_weights()
