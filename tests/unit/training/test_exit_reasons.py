from __future__ import annotations

import pytest

from deepicd.errors import CrashError, DeepICDError, ExitCode, GpuMemoryError, HostMemoryError, UserError
from deepicd.training.exit_reasons import explain_exit

GPU_MEMORY = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB."
HOST_MEMORY = "1 worker(s) were killed due to the node running low on memory."
CPU_ALLOCATOR = "RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"

WAKE_UP = "RuntimeError: CUDA Error: out of memory at /workspace/csrc/cumem_allocator.cpp:119"
NCCL = "Cuda failure 2 'out of memory'"
NO_CACHE = "No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when initializing the engine"
SMALL_CACHE = "(3.0 GiB KV cache is needed, which is larger than the available KV cache memory (1.0 GiB)."
NOT_FREE = "Free memory on device cuda:0 (9/79 GiB) on startup is less than desired GPU memory utilization (0.4, 32 GiB)."


@pytest.mark.parametrize(
    ("lines", "kind", "text"),
    [
        (["OSError: [Errno 28] No space left on device"], UserError, "the disk is full"),
        (
            [f"(WorkerDict pid=7) {GPU_MEMORY}"],
            GpuMemoryError,
            "a GPU ran out of memory: lower maxTokensPerGpu, microBatchSizePerGpu",
        ),
        (["RuntimeError: CUDA error: out of memory"], GpuMemoryError, "a GPU ran out of memory"),
        (["ray.exceptions.RayTaskError(OutOfMemoryError): x", GPU_MEMORY], GpuMemoryError, "a GPU ran out of memory"),
        ([f"ray.exceptions.OutOfMemoryError: {HOST_MEMORY}"], HostMemoryError, "raise compute.memory"),
        ([CPU_ALLOCATOR], HostMemoryError, "raise compute.memory"),
        (["ray.exceptions.RayTaskError(ValueError): x", "ValueError: secret text"], CrashError, "(ValueError)"),
        (["(TaskRunner pid=12) KeyError: 'x'"], CrashError, "(KeyError)"),
        ([], CrashError, "exit code 1: see the log"),
        ([WAKE_UP], GpuMemoryError, "when vLLM woke up: lower gpuMemoryUtilization"),
        (
            ["ncclUnhandledCudaError: Call to CUDA function failed.", NCCL],
            GpuMemoryError,
            "in NCCL: lower",
        ),
        ([f"ValueError: {NO_CACHE}"], GpuMemoryError, "leaves no room for its cache: raise gpuMemoryUtilization"),
        ([SMALL_CACHE], GpuMemoryError, "too small for one prompt and completion: raise"),
        ([NOT_FREE], GpuMemoryError, "is not free: lower gpuMemoryUtilization"),
        (["RuntimeError: CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling x"], GpuMemoryError, "lower maxTokensPerGpu"),
    ],
)
def test_an_exit_is_explained_by_the_log(lines: list[str], kind: type[DeepICDError], text: str) -> None:
    error = explain_exit(1, lines)
    assert type(error) is kind
    assert text in str(error)


FALLOCATE = "node:7:9 [3] include/shm.h:28 NCCL WARN Call to posix_fallocate failed : No space left on device"
SEGMENT = "NCCL WARN Error: failed to extend /dev/shm/nccl-WU88OE to 9637892 bytes, error: No space left on device (28)"
BUS_ERROR = (
    "RuntimeError: DataLoader worker (pid 9) is killed by signal: Bus error. It is possible that dataloader's workers are \
out of shared memory."
)


@pytest.mark.parametrize("line", [FALLOCATE, SEGMENT, BUS_ERROR])
def test_a_full_dev_shm_is_not_called_a_full_disk(line: str) -> None:
    error = explain_exit(1, [line])
    assert error.exit_code == ExitCode.USER_ERROR
    assert "compute.sharedMemory" in str(error)
    assert "the disk" not in str(error)


@pytest.mark.parametrize(
    "line",
    [
        "OSError: [Errno 122] Disk quota exceeded",
        "[enforce fail at inline_container.cc:857] . PytorchStreamWriter failed writing file data/7: file write failed",
        "RuntimeError: [enforce fail at inline_container.cc:664] . unexpected pos 576 vs 470",
    ],
)
def test_a_checkpoint_that_finds_no_room_is_a_full_disk(line: str) -> None:
    error = explain_exit(1, [line])
    assert error.exit_code == ExitCode.USER_ERROR
    assert "the disk is full: free space" in str(error)


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: The NVIDIA driver on your system is too old (found version 12020). Please update your GPU driver",
        "RuntimeError: CUDA error: CUDA driver version is insufficient for CUDA runtime version",
    ],
)
def test_a_driver_that_is_too_old_is_for_the_user_to_replace(line: str) -> None:
    error = explain_exit(1, [line])
    assert error.exit_code == ExitCode.USER_ERROR
    assert "install driver 580 or newer" in str(error)


KILLED = "Workers (tasks / actors) killed due to memory pressure (OOM)"


@pytest.mark.parametrize(
    "line",
    [
        f"(raylet) node_manager.cc:3069: 1 {KILLED}, 0 Workers crashed due to other reasons at node (ID: 4)",
        "terminate called after throwing an instance of 'std::bad_alloc'",
        "OSError: [Errno 12] Cannot allocate memory",
        "(TaskRunner pid=7) MemoryError",
        "numpy._core._exceptions._ArrayMemoryError: Unable to allocate 7. GiB",
        "ValueError: Available memory on node 0 (1/8 GiB) on startup is less than desired CPU memory utilization (0.4, 3 GiB).",
    ],
)
def test_a_machine_without_memory_is_found_in_every_wording(line: str) -> None:
    assert type(explain_exit(1, [line])) is HostMemoryError


@pytest.mark.parametrize(
    "line",
    [
        "RuntimeError: CUDA driver error: out of memory",
        "RuntimeError: cuda runtime error (2) : out of memory at x.cu:25",
        "RuntimeError: Triton Error [CUDA]: out of memory",
        "CUDA_ERROR_OUT_OF_MEMORY: out of memory",
    ],
)
def test_a_gpu_without_memory_is_found_in_every_wording(line: str) -> None:
    assert type(explain_exit(1, [line])) is GpuMemoryError


@pytest.mark.parametrize(
    "line",
    [
        f"(raylet) node_manager.cc:3069: 0 {KILLED}, 1 Workers crashed due to other reasons at node (ID: 4)",
        "WARNING: The object store is using /tmp instead of /dev/shm because /dev/shm has only 67108864 bytes available.",
        "There are some potential root causes. (1) The process is killed by SIGKILL by OOM killer due to high memory usage.",
        "Capturing CUDA graphs. If out-of-memory error occurs during cudagraph capture, decrease `gpu_memory_utilization`.",
    ],
)
def test_a_warning_about_memory_is_not_taken_for_the_reason(line: str) -> None:
    assert type(explain_exit(1, [line])) is CrashError


def test_an_exceptions_own_text_is_never_quoted() -> None:
    assert "secret" not in str(explain_exit(1, ["ValueError: secret text"]))


@pytest.mark.parametrize(
    "line",
    ["ValueError: secret", "(TaskRunner pid=1) omegaconf.errors.ConfigAttributeError: secret", "ZeroDivisionError: secret"],
)
def test_a_setting_that_the_training_stack_refuses_before_its_first_step_is_for_the_user_to_fix(line: str) -> None:
    error = explain_exit(1, [line], "spec.stages.grpo.overrides")
    assert error.exit_code == ExitCode.USER_ERROR
    assert str(error).startswith("spec.stages.grpo.overrides: the training stack ended with ")
    assert "secret" not in str(error)
    assert explain_exit(1, [line]).exit_code == ExitCode.CRASHED


@pytest.mark.parametrize("line", ["RuntimeError: NCCL error", "ConnectionError: x", "no exception at all"])
def test_a_failure_that_no_setting_causes_stays_a_crash(line: str) -> None:
    assert type(explain_exit(1, [line], "spec.stages.grpo.overrides")) is CrashError


def test_the_setting_that_one_process_refused_is_found_though_others_end_after_it() -> None:
    lines = [
        "(vLLMHttpServer pid=7) pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig",
        "(TaskRunner pid=1) ray.exceptions.ActorDiedError: The actor died unexpectedly before finishing this task.",
        "RuntimeError: Engine core initialization failed. See root cause above.",
    ]
    error = explain_exit(1, lines, "spec.stages.grpo.overrides")
    assert (error.exit_code, "ended with ValidationError" in str(error)) == (ExitCode.USER_ERROR, True)
