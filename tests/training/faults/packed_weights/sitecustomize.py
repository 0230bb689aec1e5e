"""On the PYTHONPATH of a run, brings back the fault that the CPU plugin fixes, on every processor.

vLLM frees a linear layer's weight after packing it; verl then writes to a parameter of size 0.
"""

from types import ModuleType
from typing import Any

import deepicd.training.cpu.vllm_plugin as plugin
from deepicd.training.imports import after_import


def _free_weight(layer: Any, remove_weight: bool) -> None:
    import torch

    weight = layer.weight.detach()
    layer.cpu_linear = lambda x, _, bias: torch.nn.functional.linear(x, weight, bias)
    if remove_weight:
        layer.weight = torch.nn.Parameter(torch.empty(0), requires_grad=False)


def _patch(module: ModuleType) -> None:
    setattr(module, "dispatch_cpu_unquantized_gemm", _free_weight)  # noqa: B010 - mypy knows no such attribute


plugin.keep_linear_weights = lambda: after_import("vllm.model_executor.layers.utils", _patch)
