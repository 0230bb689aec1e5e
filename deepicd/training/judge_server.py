"""vLLM servers for the reward's judges, which the run starts before a stage and ends after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from deepicd.rewards.judge.seats import FIRST, Seat, taken
from deepicd.spec.judge import JudgeModelSpec
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.model_server import Server, serving, vllm_command
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop


def command(model: str, port: int, served_name: str) -> list[str]:
    """The command of a server."""
    return [
        *vllm_command(model, served_name, port),
        # Otherwise a model may write blanks up to its token limit.
        "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]  # fmt: skip


@contextmanager
def judge_server(
    run: DeepICDRun, files: StageFiles, stop: Stop, *, needed: bool = True, second: bool = True
) -> Iterator[Mapping[str, str]]:
    """Run the servers of the judges during the body, as far as the run starts them. Their logs are those of `files`.

    Args:
        run: the run.
        files: of the stage.
        stop: whether to stop.
        needed: whether the stage fails if a server ends during the body.
        second: whether the stage asks the second judge.

    Yields:
        Variables for the stage's processes: each server's address and key, and the GPUs that they leave.

    Raises:
        CrashError: one does not start.
        TerminatedError: a stop was requested before they were up.
    """
    judge = run.spec.reward.judge
    every = () if judge is None else taken(judge)
    started = [(seat, model) for seat, model in every if model.model is not None and (second or seat is FIRST)]
    if not started:
        yield {}
        return
    ours, *theirs = device().split(run.spec.compute.gpus, *(model.gpus for _, model in started))
    variables = dict(ours)
    with ExitStack() as stack:
        for (seat, model), its in zip(started, theirs, strict=True):
            server = _server(run, seat, model, its, files)
            variables |= stack.enter_context(serving(server, files, stop, needed=needed))
        yield variables


def _server(run: DeepICDRun, seat: Seat, model: JudgeModelSpec, its: Mapping[str, str], files: StageFiles) -> Server:
    parallel = ["--tensor-parallel-size", str(model.gpus)] if model.gpus > 1 else []
    return Server(
        who=seat.who,
        field=f"{seat.field}.model",
        command=lambda port: [*command(str(model.model), port, seat.served_name), *parallel],
        variables=its,
        log=files.judge_log if seat is FIRST else files.second_judge_log,
        endpoint_variable=seat.endpoint_variable,
        key_variable=seat.key_variable,
        patience_seconds=run.spec.recovery.stall_after.total_seconds(),
    )
