"""The two training stages: build the command, launch it, follow it, keep the final model."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import structlog

from deepicd import prompt
from deepicd.errors import CrashError, RewardCollapsedError, UserError
from deepicd.phases import OnPhase, Phase, PhaseStart, ignore
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.judge import check_judge
from deepicd.spec.run import DeepICDRun
from deepicd.spec.training import GrpoSpec, SftSpec, SftValidationSpec
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.device import device
from deepicd.training.disk_room import check_room, room_for
from deepicd.training.footprint import CHECKPOINT_BYTES, checkpoint_bytes, model_bytes, trained_parameters
from deepicd.training.gpu_activity import IdleWatch, gpus_idle
from deepicd.training.judge_server import Shared, judge_server
from deepicd.training.launch import GuardedProcess, begin_launch, training_environment
from deepicd.training.nodes import wait_for_nodes
from deepicd.training.overrides import TrainingData, grpo_overrides, sft_overrides, worker_environment, worker_python
from deepicd.training.reward_collapse import RewardWatch
from deepicd.training.sft_validation import SftEnd, is_held_out
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import RayStartError, Stop, supervise
from deepicd.training.weights import linear_layers, parameters_in, tensors_in

OnStep = Callable[[StepMetrics, int | None], None]

ALARM_EVERY_STEPS = 5
"""Steps between looks at the judge's log."""
RAY_STARTS = 3
"""Tries to start Ray's node: the first time its files may come from a slow disk, or a busy machine may delay it."""


def train_sft(
    run: DeepICDRun,
    spec_file: Path,
    sft: SftSpec,
    data: TrainingData,
    folder: Path,
    stop: Stop,
    on_step: OnStep,
    on_phase: OnPhase = ignore,
) -> None:
    """Fine-tune `data.model` on `data.train` into `folder/model`, resuming from the newest checkpoint in `folder`.

    Raises:
        DeepICDError: see `supervise`.
    """
    _check_size(run, data, sft.train_batch_size, "stages.sft.trainBatchSize")
    if sft.validation is not None:
        _check_held_out(data.train, sft.validation, sft.train_batch_size, run.spec.seed)
    files = StageFiles(folder)
    # Fail before SFT starts, not after hours of it.
    _wait_for_nodes(run, files, stop, on_phase)
    command = sft_command(run, sft, data, files)
    checkpoints = _local(run, files, sft.keep_checkpoints)
    untried = _untried("sft", sft.overrides, checkpoints)
    if run.spec.stages.grpo is not None:
        files.folder.mkdir(parents=True, exist_ok=True)
        # SFT's checkpoints go when GRPO begins, its model stays.
        later = _local(run, files, run.spec.stages.grpo.keep_checkpoints)
        _check_room(run, data.model, later, models=2, writer="GRPO, after this stage,")
    _train(
        run, spec_file, command, data.model, files, "huggingface", checkpoints, stop, on_step, on_phase, untried=untried,
        weight_bytes=checkpoint_bytes(sft),
    )  # fmt: skip
    if (end := SftEnd.read(files.sft_end)) is not None:
        structlog.get_logger().info(str(end))


def train_grpo(
    run: DeepICDRun,
    spec_file: Path,
    grpo: GrpoSpec,
    data: TrainingData,
    folder: Path,
    stop: Stop,
    on_step: OnStep,
    on_phase: OnPhase = ignore,
) -> None:
    """Train `data.model` with GRPO into `folder/model`, resuming from the newest checkpoint in `folder`.

    Raises:
        DeepICDError: see `supervise`.
    """
    _check_size(run, data, grpo.train_batch_size, "stages.grpo.trainBatchSize")
    files = StageFiles(folder)
    device().check(run.spec.compute.gpus + run.spec.judge_gpus)
    several = run.spec.compute.nodes > 1
    _wait_for_nodes(run, files, stop, on_phase)
    command = grpo_command(run, grpo, data, files)
    rule = run.spec.recovery.reward_collapse
    watched = on_step if rule is None else ends_on_collapse(RewardWatch(rule), on_step)
    checkpoints = _local(run, files, grpo.keep_checkpoints)
    if run.spec.reward.judge is not None:
        watched = watches_the_judge(files.judged, watched)
    with_judge = partial(judge_for_training, run, files, stop)
    untried = _untried("grpo", grpo.overrides, checkpoints)
    _train(
        run, spec_file, command, data.model, files, "actor/huggingface", checkpoints, stop, watched, on_phase, with_judge,
        untried=untried, on_nodes=several,
    )  # fmt: skip
    # Ray ends the stage's workers after its driver; what follows needs their memory.
    _wait_for_nodes(run, files, stop, on_phase)


def sft_command(run: DeepICDRun, sft: SftSpec, data: TrainingData, files: StageFiles) -> list[str]:
    """The command of torchrun, for a `GuardedProcess`."""
    ranks = run.spec.compute.gpus
    python = device().python("{scratch}", threads=1 if ranks > 1 else len(os.sched_getaffinity(0)))
    return [
        *python, "-m", "torch.distributed.run", "--standalone", "--nnodes=1",
        "--signals-to-handle=SIGTERM,SIGHUP,SIGQUIT",  # SIGINT stays ignored: see the guard
        f"--nproc_per_node={ranks}", "-m", "deepicd.training.sft_main", *sft_overrides(run, sft, data, files),
    ]  # fmt: skip


def grpo_command(run: DeepICDRun, grpo: GrpoSpec, data: TrainingData, files: StageFiles) -> list[str]:
    """The command of GRPO's main process, for a `GuardedProcess`."""
    python, overrides = [sys.executable], grpo_overrides(run, grpo, data, files)
    if run.spec.compute.nodes == 1:
        overrides.append("+ray_kwargs.ray_init._temp_dir={scratch}")
        python = device().python("{scratch}", threads=1)  # as Ray has it in its workers
        if path := device().worker_python("{scratch}"):
            overrides.append(worker_python(path))
    return [*python, "-m", "deepicd.training.grpo_main", *overrides]


def ends_on_collapse(watch: RewardWatch, on_step: OnStep) -> OnStep:
    """`on_step` that then ends the stage if the reward has collapsed."""

    def act(row: StepMetrics, total: int | None) -> None:
        on_step(row, total)
        if row.step > 0 and row.reward is not None and (found := watch.step(row.reward)):
            raise RewardCollapsedError(
                f"the reward collapsed at step {row.step} (recovery.rewardCollapse): {found}: "
                "lower stages.grpo.learningRate or raise klLossCoefficient, and give the run another name"
            )

    return act


@contextmanager
def judge_for_training(run: DeepICDRun, files: StageFiles, stop: Stop) -> Iterator[Mapping[str, str]]:
    """Have the reward's judge, if there is one, during the body; yields variables for the stage's processes.

    Raises:
        UserError, JudgeError, CrashError, TerminatedError: see `check_judge` and `judge_server`.
    """
    judge = run.spec.reward.judge
    if judge is not None:
        check_judge(judge)
    grpo = run.spec.stages.grpo or GrpoSpec()
    with judge_server(run, files, stop, Shared(grpo.gpu_memory_utilization, sleeps=True)) as variables:
        yield variables


def watches_the_judge(judged: Path, on_step: OnStep) -> OnStep:
    """`on_step` that also gets how the judge and the outcome have moved, and that warns, once, if only the judge's mean rises.

    `judged`: the judge's log.
    """
    warned, trend = False, None

    def act(row: StepMetrics, total: int | None) -> None:
        nonlocal warned, trend
        looked = row.step % ALARM_EVERY_STEPS == 0
        if looked:
            trend = watch.trend(list(watch.read_file(judged).values()))
        on_step(replace(row, judge_trend=trend), total)
        if looked and trend is not None and trend.diverged and not warned:
            warned = True
            structlog.get_logger().warning(
                f"reward.judge: {trend}: the policy may please the judge without being right", step=row.step
            )

    return act


def _train(
    run: DeepICDRun,
    spec_file: Path,
    command: list[str],
    model: Path,
    files: StageFiles,
    exported: str,
    checkpoints: LocalCheckpoints,
    stop: Stop,
    on_step: OnStep,
    on_phase: OnPhase,
    beside: Callable[[], AbstractContextManager[Mapping[str, str]]] = lambda: nullcontext({}),
    *,
    untried: str | None,
    on_nodes: bool = False,
    weight_bytes: int = CHECKPOINT_BYTES,
) -> None:
    """`beside`: what else runs during training; yields variables for its processes. `weight_bytes`: see `checkpoint_bytes`."""
    metrics = begin_launch(files)
    checkpoints.drop_incomplete()
    if not _has_weights(files.checkpoints.last / exported):
        _check_room(run, model, checkpoints, weight_bytes=weight_bytes)
        environment = training_environment(spec_file, files, metrics, checkpoints)
        passed_on = worker_environment(environment) if on_nodes else []
        with beside() as variables:
            for tries_left in reversed(range(RAY_STARTS)):
                files.begin_phases()
                process = GuardedProcess([*command, *passed_on], {**environment, **variables}, files.log)
                try:
                    supervise(
                        process, files, metrics, stall_after=run.spec.recovery.stall_after, stop=stop, on_step=on_step,
                        on_phase=on_phase, untried=untried, idle=_idle_watch(run),
                    )  # fmt: skip
                    break
                except RayStartError:
                    if not tries_left:
                        raise
                    structlog.get_logger().warning("Ray did not start, trying again", log=str(files.log))
    if not _has_weights(files.checkpoints.last / exported):
        raise CrashError(f"training ended after step {files.checkpoints.last_step} without its final model: see {files.log}")
    shutil.rmtree(files.model, ignore_errors=True)
    # Hard links: the weights are not copied, and outlive the checkpoint.
    shutil.copytree(files.checkpoints.last / exported, files.model, copy_function=os.link)
    prompt.asked(run.spec).store(files.model)


def _check_room(
    run: DeepICDRun,
    model: Path,
    checkpoints: LocalCheckpoints,
    *,
    models: int = 1,
    writer: str = "the stage",
    weight_bytes: int = CHECKPOINT_BYTES,
) -> None:
    """`check_room` for a stage that trains `model` and leaves so many models."""
    if (parameters := parameters_in(model)) is None:
        return
    trained = trained_parameters(run.spec, parameters, linear_layers(tensors_in(model) or {}))
    room = room_for(checkpoints.folders.folder.parent, run.spec.compute.scratch)
    check_room(checkpoints, weight_bytes * trained, models * model_bytes(run.spec, parameters), room, writer)


def _wait_for_nodes(run: DeepICDRun, files: StageFiles, stop: Stop, on_phase: OnPhase) -> None:
    if run.spec.compute.nodes > 1:
        on_phase(PhaseStart(Phase.NODES, log=files.nodes_log))
    wait_for_nodes(run, files.folder, files.nodes_log, stop)


def _local(run: DeepICDRun, files: StageFiles, keep: int) -> LocalCheckpoints:
    return LocalCheckpoints(files.checkpoints, keep, stored=run.spec.storage is not None)


def _untried(stage: str, overrides: tuple[str, ...], checkpoints: LocalCheckpoints) -> str | None:
    """The field of the overrides, if there are any and no checkpoint shows that training works with them."""
    return f"spec.stages.{stage}.overrides" if overrides and not checkpoints.folders.last_step else None


def _check_size(run: DeepICDRun, data: TrainingData, batch: int, field: str) -> None:
    """Raises: UserError: there is less than one batch, or fewer GPUs than the run wants."""
    rows = pq.ParquetFile(data.train).metadata.num_rows
    if rows < batch:
        raise UserError(f"spec.{field}: {batch} is more than the {rows} training examples: lower it, or give more data")
    device().check(run.spec.compute.gpus)


def _check_held_out(examples: Path, rule: SftValidationSpec, batch: int, seed: int) -> None:
    """Raises: UserError: the examples held out, or those left, are less than one batch, or there are no patients to tell."""
    if "subject_id" not in pq.read_schema(examples).names:
        raise UserError(
            f"{examples}: has no patients, an earlier version made it: remove {examples.parent}.completed.json, and run again"
        )
    patients = pq.read_table(examples, columns=["subject_id"])["subject_id"].to_pylist()
    held_out = sum(is_held_out(patient, rule.held_out, seed) for patient in patients)
    for number, what, how in ((held_out, "held out", "raise"), (len(patients) - held_out, "left to learn from", "lower")):
        if number < batch:
            raise UserError(
                f"spec.stages.sft.validation.heldOut: {number} of {len(patients)} examples are {what}, less than one batch of "
                f"{batch} (trainBatchSize): {how} it, or give more data"
            )


def _idle_watch(run: DeepICDRun) -> IdleWatch | None:
    """None where idle GPUs are no sign of a stall, or only a part of them is on this machine."""
    if not device().has_gpus or run.spec.compute.nodes > 1 or run.spec.reward.judge is not None:
        return None
    return IdleWatch(run.spec.recovery.idle_after, gpus_idle())


def _has_weights(folder: Path) -> bool:
    """Whether a checkpoint's Hugging Face folder is the final model: the earlier ones hold only configuration."""
    return any(folder.glob("*.safetensors"))
