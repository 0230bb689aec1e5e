"""Two patches of vLLM 0.24.0 on the CPU: weights stay in place, and a model is inspected without another process.

On AVX-512 and AMX processors vLLM packs a linear layer's weight and frees the original; verl's weight sync then finds a
parameter of size 0, the worker raises, and training hangs.

vLLM inspects a model's class in a separate process, so that CUDA is not initialised in this one: 17 seconds of imports for
each engine of a new container, where vLLM's cache is empty.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from deepicd.training.cpu.device import is_installed
from deepicd.training.imports import after_import

_FUNCTION = "dispatch_cpu_unquantized_gemm"


def _use_plain_linear(layer: Any, remove_weight: bool) -> None:
    import torch

    layer.cpu_linear = torch.nn.functional.linear


def _patch(module: ModuleType) -> None:
    setattr(module, _FUNCTION, _use_plain_linear)


def keep_linear_weights() -> None:
    """Patch vLLM's linear layers in this process, also in modules that have already imported the function."""
    after_import("vllm.model_executor.layers.utils", _patch)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("vllm.") and hasattr(module, _FUNCTION):
            _patch(module)


def _look_here(module: ModuleType) -> None:
    module._run_in_subprocess = lambda look: look()  # type: ignore[attr-defined]


def register() -> None:
    """Entry point of group `vllm.general_plugins`: vLLM calls it in each of its processes."""
    if is_installed():
        after_import("vllm.model_executor.models.registry", _look_here)
    if os.environ.get("VERL_PLATFORM") == "cpu":
        keep_linear_weights()
