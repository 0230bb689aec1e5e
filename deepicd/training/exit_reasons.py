"""Why a training process ended, by the end of its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deepicd.errors import CrashError, DeepICDError, GpuMemoryError, HostMemoryError, UserError

_RESUME = "then run again to resume"
_NO_ROOM = "a GPU ran out of memory"

_SIGNATURES: tuple[tuple[re.Pattern[str], type[DeepICDError], str], ...] = (
    (re.compile("No space left on device|database or disk is full"), UserError, f"the disk is full: free space, {_RESUME}"),
    # Ray ends a worker before the kernel would. Its exception has the name of PyTorch's for GPUs.
    (re.compile("node running low on memory|DefaultCPUAllocator: can't allocate memory"), HostMemoryError,
     f"the machine ran out of memory: raise compute.memory, or use a larger machine, {_RESUME}"),
    (re.compile("No available memory for the cache blocks"), GpuMemoryError,
     f"vLLM's share of the GPU leaves no room for its cache: raise gpuMemoryUtilization, {_RESUME}"),
    (re.compile("larger than the available KV cache memory"), GpuMemoryError,
     f"vLLM's share of the GPU is too small for one prompt and completion: raise gpuMemoryUtilization, {_RESUME}"),
    (re.compile("is less than desired GPU memory utilization"), GpuMemoryError,
     f"vLLM's share of the GPU is not free: lower gpuMemoryUtilization, or end what else uses the GPU, {_RESUME}"),
    # vLLM wakes up, and maps the memory that it gave back for training.
    (re.compile(r"out of memory at \S*cumem_allocator"), GpuMemoryError,
     f"{_NO_ROOM} when vLLM woke up: lower gpuMemoryUtilization, or turn on offloadParameters and offloadOptimizer, {_RESUME}"),
    (re.compile(r"Cuda failure (\d+ )?'out of memory'"), GpuMemoryError,
     f"{_NO_ROOM} in NCCL: lower gpuMemoryUtilization or maxTokensPerGpu, {_RESUME}"),
    (re.compile(r"torch\.(cuda\.)?OutOfMemoryError|CUDA (error: )?out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED", re.I),
     GpuMemoryError,
     f"{_NO_ROOM}: lower maxTokensPerGpu, microBatchSizePerGpu or gpuMemoryUtilization, or set offloadParameters, {_RESUME}"),
)  # fmt: skip
_EXCEPTION = re.compile(r"^(?:\(\S+ pid=\d+[^)]*\) )?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt))(?::|$)")
_OF_A_SETTING = frozenset({
    "AssertionError", "AttributeError", "ConfigAttributeError", "ConfigKeyError", "ConfigTypeError", "InstantiationException",
    "KeyError", "NotImplementedError", "TypeError", "ValidationError", "ValueError",
})  # fmt: skip
"""Exceptions with which the training stack refuses a setting."""


def explain_exit(code: int, log_lines: Iterable[str], untried: str | None = None) -> DeepICDError:
    """The error for an exit code other than 0, by the end of the log. Only exception names are quoted from the log.

    `untried`: the field with the user's settings for the training stack, if no step has been made with them.
    """
    name = None
    for line in log_lines:
        for signature, kind, remedy in _SIGNATURES:
            if signature.search(line):
                return kind(remedy)
        if match := _EXCEPTION.match(line.strip()):
            name = match[1].rsplit(".", 1)[-1]
    if untried is not None and name in _OF_A_SETTING:
        return UserError(
            f"{untried}: the training stack ended with {name} before its first step: "
            "correct the override that the end of the log is about, or remove the overrides"
        )
    return CrashError(f"the training process ended with exit code {code}" + (f" ({name})" if name else "") + ": see the log")
