"""Why a training process ended, according to the end of its log."""

from __future__ import annotations

import re
from collections.abc import Iterable

from deepicd.errors import CrashError, DeepICDError, GpuMemoryError, HostMemoryError, UserError

_RESUME = "then run again to resume"
_NO_ROOM = "a GPU ran out of memory"


def _one_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_SIGNATURES: tuple[tuple[re.Pattern[str], type[DeepICDError], str], ...] = (
    (_one_of("(/dev/shm|posix_fallocate).*No space left on device", "failed to extend /dev/shm",
             "workers are out of shared memory", r"insufficient shared memory \(shm\)"), UserError,
     f"/dev/shm is full: enlarge it (docker run --shm-size; on a cluster compute.sharedMemory), {_RESUME}"),  # noqa: S108
    # The last two are PyTorch's, which does not say why a checkpoint cannot be written.
    (_one_of("No space left on device", "database or disk is full", "Disk quota exceeded",
             "PytorchStreamWriter failed writing file",
             r"enforce fail at inline_container\.cc:\d+\] \. unexpected pos"), UserError,
     f"the disk is full: free space, {_RESUME}"),
    # Ray ends a worker before the kernel would. Its exception has the same name as PyTorch's for GPUs; its count may be 0.
    (_one_of("node running low on memory", r"\b[1-9]\d* Workers \(tasks / actors\) killed due to memory pressure",
             "DefaultCPUAllocator: (can't allocate|not enough) memory", "std::bad_alloc", r"Errno 12\] Cannot allocate memory",
             r"^(\(\S+ pid=\d+[^)]*\) )?(MemoryError|numpy\S*\._ArrayMemoryError)\b",
             "is less than desired CPU memory utilization"), HostMemoryError,
     f"the machine ran out of memory: raise compute.memory, or use a larger machine, {_RESUME}"),
    (_one_of("NVIDIA driver on your system is too old", "CUDA driver version is insufficient for CUDA runtime"), UserError,
     "NVIDIA's driver is too old for the installed torch: install driver 580 or newer (CUDA 13), then run again"),
    (_one_of("No available memory for the cache blocks"), GpuMemoryError,
     f"vLLM's share of the GPU leaves no room for its cache: raise gpuMemoryUtilization, {_RESUME}"),
    (_one_of("larger than the available KV cache memory"), GpuMemoryError,
     f"vLLM's share of the GPU is too small for one prompt and completion: raise gpuMemoryUtilization, {_RESUME}"),
    (_one_of("is less than desired GPU memory utilization"), GpuMemoryError,
     f"vLLM's share of the GPU is not free: lower gpuMemoryUtilization, or end what else uses the GPU, {_RESUME}"),
    # vLLM wakes up, and maps the memory that it gave back for training.
    (_one_of(r"out of memory at \S*cumem_allocator"), GpuMemoryError,
     f"{_NO_ROOM} when vLLM woke up: lower gpuMemoryUtilization, or turn on offloadParameters and offloadOptimizer, {_RESUME}"),
    (_one_of(r"Cuda failure (\d+ )?'out of memory'"), GpuMemoryError,
     f"{_NO_ROOM} in NCCL: lower gpuMemoryUtilization or maxTokensPerGpu, {_RESUME}"),
    (_one_of(r"torch\.(cuda\.)?OutOfMemoryError", r"CUDA(\]|( driver| runtime)? error( \(\d+\))?)? ?:? out of memory",
             "CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation", "(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED"), GpuMemoryError,
     f"{_NO_ROOM}: lower maxTokensPerGpu, microBatchSizePerGpu or gpuMemoryUtilization, or set offloadParameters, {_RESUME}"),
)  # fmt: skip
_EXCEPTION = re.compile(r"^(?:\(\S+ pid=\d+[^)]*\) )?((?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt))(?::|$)")
_OF_A_SETTING = frozenset({
    "ArgumentError", "AssertionError", "AttributeError", "ConfigAttributeError", "ConfigKeyError", "ConfigTypeError",
    "FileNotFoundError", "ImportError", "IndexError", "InstantiationException", "KeyError", "ModuleNotFoundError",
    "NotImplementedError", "TypeError", "ValidationError", "ValueError", "VLLMValidationError", "ZeroDivisionError",
})  # fmt: skip
"""Exceptions with which the training stack refuses a setting."""


def known_reason(log_lines: Iterable[str]) -> DeepICDError | None:
    """The error that a line of the log shows unambiguously, such as a lack of memory; None if there is none."""
    for line in log_lines:
        for signature, kind, remedy in _SIGNATURES:
            if signature.search(line):
                return kind(remedy)
    return None


def explain_exit(code: int, log_lines: Iterable[str], untried: str | None = None) -> DeepICDError:
    """The error for an exit code other than 0, according to the end of the log. Only exception names are quoted from the log.

    `untried`: the field with the user's settings for the training stack, if no step has been made with them.
    """
    lines = list(log_lines)
    if (known := known_reason(lines)) is not None:
        return known
    found = [match[1].rsplit(".", 1)[-1] for line in lines if (match := _EXCEPTION.match(line.strip()))]
    # The first one is that of the process in which it happened; the last may only say that another process has ended.
    of_a_setting = next((name for name in found if name in _OF_A_SETTING), None)
    if untried is not None and of_a_setting is not None:
        return UserError(
            f"{untried}: the training stack ended with {of_a_setting} before its first step: "
            "correct the override that the end of the log is about, or remove the overrides"
        )
    name = found[-1] if found else None
    return CrashError(f"the training process ended with exit code {code}" + (f" ({name})" if name else "") + ": see the log")
