"""vLLM servers for the reward's judges, which the run starts before a stage and ends after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from deepicd.rewards.judge.roles import FIRST, Role, roles_of
from deepicd.spec.judge import JudgeModelSpec
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.judge_sleep import MIDDLEWARE, Switch
from deepicd.training.model_server import Server, serving, vllm_command
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop


def command(model: str, port: int, served_name: str) -> list[str]:
    """The command of a server."""
    return [
        *vllm_command(model, served_name, port),
        # Otherwise a model may write whitespace up to its token limit.
        "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]  # fmt: skip


@dataclass(frozen=True)
class Shared:
    """How a stage shares its GPUs with a colocated judge."""

    share: float
    """Of each GPU, for the judge."""
    sleeps: bool
    """Whether the judge sleeps until the stage wakes it."""


@contextmanager
def judge_server(
    run: DeepICDRun, files: StageFiles, stop: Stop, shared: Shared, *, needed: bool = True, second: bool = True
) -> Iterator[Mapping[str, str]]:
    """Run the judges' servers during the body, if the run starts them. Their logs are in `files`.

    Args:
        run: the run.
        files: of the stage.
        stop: whether to stop.
        shared: what a colocated judge gets.
        needed: whether the stage fails if a server ends during the body.
        second: whether the stage asks the second judge.

    Yields:
        Variables for the stage's processes: each server's address and key, and the GPUs that they leave.

    Raises:
        CrashError: one does not start.
        JudgeError: one does not go to sleep.
        TerminatedError: a stop was requested before they were up.
    """
    judge = run.spec.reward.judge
    started = [
        (role, model)
        for role, model in (() if judge is None else roles_of(judge))
        if model.model is not None and (second or role is FIRST)
    ]
    if judge is None or not started:
        yield {}
        return
    ours, *theirs = device().split(run.spec.compute.gpus, *(model.own_gpus for _, model in started))
    patience = run.spec.recovery.stall_after.total_seconds()
    variables = dict(ours)
    with ExitStack() as stack:
        for (role, model), its in zip(started, theirs, strict=True):
            colocated = role is FIRST and judge.colocated
            more = _colocated_arguments(run.spec.compute.gpus, model, shared) if colocated else _parallel(model)
            server = Server(
                who=role.who,
                field=f"{role.field}.model",
                command=partial(_command, role, model, more),
                variables=ours if colocated else its,
                log=files.judge_log if role is FIRST else files.second_judge_log,
                endpoint_variable=role.endpoint_variable,
                key_variable=role.key_variable,
                patience_seconds=patience,
            )
            its_own = stack.enter_context(serving(server, files, stop, needed=needed))
            if colocated and shared.sleeps:
                Switch.of(its_own, patience).sleep()
            variables |= its_own
        yield variables


def _command(role: Role, model: JudgeModelSpec, more: list[str], port: int) -> list[str]:
    return [*command(str(model.model), port, role.served_name), *more]


def _parallel(model: JudgeModelSpec) -> list[str]:
    return ["--tensor-parallel-size", str(model.gpus)] if model.gpus > 1 else []


def _colocated_arguments(gpus: int, model: JudgeModelSpec, shared: Shared) -> list[str]:
    """As many copies as the GPUs hold, each of which sleeps when the policy needs its memory."""
    return [
        *device().parallel_arguments(gpus, model.gpus),
        *device().colocated_arguments(shared.share, sleeps=shared.sleeps),
        *(["--middleware", MIDDLEWARE] if shared.sleeps else []),
    ]
