"""A vLLM server for the teacher of `stages.distill`, on all GPUs, which the run starts and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deepicd.distill.teacher import FIELD, SERVED_NAME
from deepicd.spec.environment import TEACHER_API_KEY, TEACHER_ENDPOINT
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.model_server import Server, serving, vllm_command
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop


def command(model: str, port: int, gpus: int, tensor_parallel: int) -> list[str]:
    """The command of the server, with `gpus / tensor_parallel` copies of the model."""
    return [
        *vllm_command(model, SERVED_NAME, port),
        "--max-model-len", "-1",  # what fits into the memory
        *device().parallel_arguments(gpus, tensor_parallel),
    ]  # fmt: skip


@contextmanager
def teacher_server(run: DeepICDRun, model: str | None, files: StageFiles, stop: Stop) -> Iterator[Mapping[str, str]]:
    """Run the teacher's server during the body. Its log is `files.teacher_log`.

    Args:
        run: with `stages.distill`.
        model: the teacher's folder or hub name; None: it has an endpoint, and nothing is started.
        files: of the stage.
        stop: whether to stop.

    Yields:
        Variables for the stage's process: the server's address and key.

    Raises:
        UserError: this machine has fewer GPUs than the run wants.
        CrashError: it does not start.
        TerminatedError: a stop was requested before it was up.
    """
    if model is None or run.spec.stages.distill is None:
        yield {}
        return
    gpus, split = run.spec.compute.gpus, run.spec.stages.distill.teacher.tensor_parallel
    device().check(gpus)
    _, its = device().split(0, gpus)
    server = Server(
        who="the teacher",
        field=FIELD,
        command=lambda port: command(model, port, gpus, split),
        variables=its,
        log=files.teacher_log,
        endpoint_variable=TEACHER_ENDPOINT,
        key_variable=TEACHER_API_KEY,
        patience_seconds=run.spec.recovery.stall_after.total_seconds(),
    )
    with serving(server, files, stop, needed=True) as variables:
        yield variables
