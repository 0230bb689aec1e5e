"""A vLLM server for the reward's judge, which the run starts before a stage and ends after it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from deepicd.rewards.judge.judge import SERVED_NAME
from deepicd.spec.environment import JUDGE_API_KEY, JUDGE_ENDPOINT
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.model_server import Server, serving, vllm_command
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import Stop


def command(model: str, port: int) -> list[str]:
    """The command of the server."""
    return [
        *vllm_command(model, SERVED_NAME, port),
        # Otherwise a model may write blanks up to its token limit.
        "--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}',
    ]  # fmt: skip


@contextmanager
def judge_server(run: DeepICDRun, files: StageFiles, stop: Stop, *, needed: bool = True) -> Iterator[Mapping[str, str]]:
    """Run the judge's server during the body, if the run starts one. Its log is `files.judge_log`.

    Args:
        run: the run.
        files: of the stage.
        stop: whether to stop.
        needed: whether the stage fails if the server ends during the body.

    Yields:
        Variables for the stage's processes: the server's address and key, and the GPUs that it leaves them.

    Raises:
        CrashError: it does not start.
        TerminatedError: a stop was requested before it was up.
    """
    judge = run.spec.reward.judge
    if judge is None or judge.model is None:
        yield {}
        return
    ours, its = device().split(run.spec.compute.gpus, judge.gpus)
    model, parallel = judge.model, ["--tensor-parallel-size", str(judge.gpus)] if judge.gpus > 1 else []
    server = Server(
        who="the judge",
        field="reward.judge.model",
        command=lambda port: [*command(model, port), *parallel],
        variables=its,
        log=files.judge_log,
        endpoint_variable=JUDGE_ENDPOINT,
        key_variable=JUDGE_API_KEY,
        patience_seconds=run.spec.recovery.stall_after.total_seconds(),
    )
    with serving(server, files, stop, needed=needed) as variables:
        yield {**variables, **ours}
