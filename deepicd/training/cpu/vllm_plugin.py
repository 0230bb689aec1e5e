"""Keeps vLLM's weights in place on the CPU, so that verl can write new ones into them.

On AVX-512 and AMX processors vLLM 0.24.0 packs a linear layer's weight and frees the original; verl's weight sync then
finds a parameter of size 0, the worker raises, and training hangs.
"""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import Any

from deepicd.training.imports import after_import

_FUNCTION = "dispatch_cpu_unquantized_gemm"


def _use_plain_linear(layer: Any, remove_weight: bool) -> None:
    import torch

    layer.cpu_linear = torch.nn.functional.linear


def _patch(module: ModuleType) -> None:
    setattr(module, _FUNCTION, _use_plain_linear)


def keep_linear_weights() -> None:
    """Patch vLLM's linear layers in this process, also where the function's name was copied already."""
    after_import("vllm.model_executor.layers.utils", _patch)
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("vllm.") and hasattr(module, _FUNCTION):
            _patch(module)


def register() -> None:
    """Entry point of group `vllm.general_plugins`: vLLM calls it in each of its processes."""
    if os.environ.get("VERL_PLATFORM") == "cpu":
        keep_linear_weights()
