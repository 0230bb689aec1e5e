"""`prepare → distill → sft → grpo → evaluate`: finished stages are not repeated, interrupted ones resume."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from deepicd import atomic, prompt
from deepicd.data import note_files, prompts
from deepicd.distill.question import prompts_digest
from deepicd.errors import DeepICDError, TerminatedError, UserError
from deepicd.phases import Phase, PhaseStart
from deepicd.rewards.judge.rubric import load_rubric
from deepicd.rewards.own_terms import digests
from deepicd.run.context import Context
from deepicd.run.distill import distill
from deepicd.run.evaluate import are_whole, evaluate
from deepicd.run.grpo import grpo
from deepicd.run.prepare import prepare
from deepicd.run.reporter import Eta, GpuHours, Reporter
from deepicd.run.sft import sft
from deepicd.run.stage_record import StageRecord, locked
from deepicd.run.stored import restore_stage, store_of, uploading
from deepicd.run_layout import TRAINING_STAGES, RunLayout
from deepicd.spec.load import dump
from deepicd.spec.progress import Checkpoint
from deepicd.spec.run import DeepICDRun
from deepicd.training.device import device
from deepicd.training.step_metrics import StepMetrics, step_seconds
from deepicd.training.supervise import Stop


@dataclass(frozen=True)
class Stage:
    """One stage of a run."""

    name: str
    inputs: Mapping[str, Any]
    """What the stage's result depends on, besides the stages before it."""
    act: Callable[[Context], None]


def plan(run: DeepICDRun) -> list[Stage]:
    """The stages of a run, in order."""
    spec = run.spec
    settings = spec.decisive
    # How ranks are spread over nodes does not decide the result.
    ranks = spec.compute.gpus * spec.compute.nodes
    common = {"seed": spec.seed, "model": {"dtype": spec.model.dtype}, "compute": {"gpus": ranks}}
    steps = {name: chosen or {} for name, chosen in settings["stages"].items()}
    inputs = {"data": settings["data"], "model": settings["model"], "tables": _tables(run)}
    stages = [Stage("prepare", inputs, prepare)]
    if spec.stages.distill is not None:
        taught = spec.stages.distill
        inputs = {"seed": spec.seed, "stages": {"distill": steps["distill"]}, "prompts": prompts_digest()}
        stages.append(Stage("distill", inputs, lambda context: distill(context, taught)))
    if spec.stages.sft is not None:
        chosen = spec.stages.sft
        stages.append(Stage("sft", {**common, "stages": {"sft": steps["sft"]}}, lambda context: sft(context, chosen)))
    scored_by = {"reward": settings["reward"], **_texts_of_reward(run)}
    if spec.stages.grpo is not None:
        goal = spec.stages.grpo
        inputs = {**common, **scored_by, "stages": {"grpo": steps["grpo"]}}
        stages.append(Stage("grpo", inputs, lambda context: grpo(context, goal)))
    if spec.stages.evaluate is not None:
        last = spec.stages.evaluate
        inputs = {**common, **scored_by, "stages": {"evaluate": steps["evaluate"]}}
        stages.append(Stage("evaluate", inputs, lambda context: evaluate(context, last)))
    return stages


def _texts_of_reward(run: DeepICDRun) -> dict[str, Any]:
    """Digests of the judge's rubric and of the files of own terms: a changed text is a changed input."""
    judge, terms = run.spec.reward.judge, digests(run.spec.reward.terms or {})
    rubric = {} if judge is None else {"rubric": load_rubric(judge.rubric).digest}
    return rubric | ({"terms": terms} if terms else {})


_TEXTS = ("rubric", "terms")
"""Inputs that `_texts_of_reward` gives."""


_READ = ("admissions", "patients", "diagnoses_icd", "d_icd_diagnoses", "discharge", "train", "validation", "test")


def _tables(run: DeepICDRun) -> dict[str, int]:
    """Sizes of the files that the run reads, by name: a changed table is a changed input."""
    data = run.spec.data
    folders = [data.mimic.hosp, data.mimic.note] if data.mimic else [data.prepared] if data.prepared else []
    files = [path for folder in folders for path in Path(folder).glob("*") if path.name.split(".")[0] in _READ]
    files += [Path(data.traces)] if data.traces else []
    sizes = {path.name: path.stat().st_size for path in files if path.is_file()}
    notes = note_files.matching(data.notes) if data.notes else []  # files in several folders may share a name
    return sizes | {str(path): path.stat().st_size for path in notes if path.is_file()}


def run_pipeline(
    run: DeepICDRun,
    folder: Path,
    stop: Stop,
    reporter: Reporter,
    *,
    last: str | None = None,
    on_checkpoint: Callable[[Checkpoint], None] | None = None,
    on_restore: Callable[[str], None] | None = None,
) -> dict[str, float]:
    """Run the stages in the run's folder up to `last`, resuming from what exists; returns the seconds of each stage.

    `on_checkpoint` is called with each checkpoint that this process stores, `on_restore` with the address of each checkpoint
    that it resumes from.

    Raises:
        DeepICDError: a stage failed; finished stages are kept.
    """
    store = store_of(run)
    with locked(folder), _disk_full_as_user_error(folder):
        records = list(_records(run, folder))
        for _, record in records:
            record.check()
        atomic.write(RunLayout(folder).spec, dump(run))
        with uploading(run, store, folder, stop, on_checkpoint):
            restore = None if store is None else partial(restore_stage, store, on_restore=on_restore)
            return _stages(run, folder, restore, records, stop, reporter, last)


def _stages(
    run: DeepICDRun,
    folder: Path,
    restore: Callable[[str, Path], bool] | None,
    records: list[tuple[Stage, StageRecord]],
    stop: Stop,
    reporter: Reporter,
    last: str | None,
) -> dict[str, float]:
    seconds: dict[str, float] = {}
    layout = RunLayout(folder)
    prompts_fit = _prompts_fit(run, layout)
    for stage, record in records:
        if last is not None and last in seconds:
            break
        if stage.name == "distill" and _is_needless(record, records, restore, layout):
            seconds[stage.name] = 0.0
            reporter.stage_finished(stage.name, 0.0, already=True)
            continue
        fetches = restore is not None and not record.completed() and stage.name in TRAINING_STAGES
        if fetches:
            reporter.stage_started(stage.name)
            reporter.phase(stage.name, PhaseStart(Phase.DOWNLOAD))
        if restore is not None and fetches and restore(stage.name, layout.stage(stage.name).folder):
            record.begin()
            record.complete(0.0)
        done = record.completed()
        if stage.name == "prepare" and not prompts_fit and not all(later.completed() for _, later in records):
            done = None
        if done and stage.name == "evaluate" and not are_whole(layout):
            done = None
        if done:
            seconds[stage.name] = done["seconds"]
            reporter.stage_finished(stage.name, done["seconds"], already=True)
            continue
        if stop.requested:
            raise TerminatedError(f"stopped on request before {stage.name}: run again to resume")
        _check_texts(run, stage)
        if not fetches:
            reporter.stage_started(stage.name)
        record.begin()
        started = time.monotonic()
        on_phase = partial(reporter.phase, stage.name)
        earlier = sum(seconds.values()) + step_seconds(layout.stage(stage.name).metrics)
        on_step = _timed(reporter, stage.name, _gpu_hours(run, earlier))
        _act(stage, Context(run, layout, stop, on_step, on_phase))
        seconds[stage.name] = time.monotonic() - started
        record.complete(seconds[stage.name])
        reporter.stage_finished(stage.name, seconds[stage.name], already=False)
    return seconds


def _check_texts(run: DeepICDRun, stage: Stage) -> None:
    """Raises: UserError: a file of the reward is another one than when the run started, which the stage would use."""
    before = {name: stage.inputs[name] for name in _TEXTS if name in stage.inputs}
    now = _texts_of_reward(run) if before else {}
    for name, text in before.items():
        if now[name] != text:
            raise UserError(f"reward.{name}: a file has changed since the run started: undo the change, or run again to use it")


def _is_needless(
    record: StageRecord,
    records: list[tuple[Stage, StageRecord]],
    restore: Callable[[str, Path], bool] | None,
    layout: RunLayout,
) -> bool:
    """Whether `distill` is not needed any more: traces are not stored, but the model that has learned from them may be."""
    learner = next((later for stage, later in records if stage.name == "sft"), None)
    if learner is None or record.completed():
        return False
    if restore is not None and not learner.completed() and restore("sft", layout.stage("sft").folder):
        learner.begin()
        learner.complete(0.0)
    return learner.completed() is not None


def _prompts_fit(run: DeepICDRun, layout: RunLayout) -> bool:
    """Whether the prompts that `prepare` wrote fit the budgets of the remaining stages, which may change until their stage.

    Earlier versions wrote none. The budgets are not among the inputs of `prepare`, so that runs of those versions resume.
    """
    sft = run.spec.prepared_sft
    folder = layout.stage("prepare").prompts
    return prompts.are_for(folder, prompt.asked(run.spec), None if sft is None else sft.max_tokens)


def _gpu_hours(run: DeepICDRun, earlier: float) -> GpuHours | None:
    if not device().has_gpus:
        return None
    compute = run.spec.compute
    return GpuHours(compute.gpus * compute.nodes + run.spec.judge_gpus, earlier)


def _timed(reporter: Reporter, stage: str, gpu_hours: GpuHours | None) -> Callable[[StepMetrics, int | None], None]:
    eta = Eta()

    def on_step(row: StepMetrics, total: int | None) -> None:
        left = eta.seconds(row.step, total)
        reporter.step(stage, row if gpu_hours is None else gpu_hours.added(row, left), total, left)

    return on_step


def _records(run: DeepICDRun, folder: Path) -> Iterator[tuple[Stage, StageRecord]]:
    before: dict[str, str] = {}
    for stage in plan(run):
        record = StageRecord(RunLayout(folder).stage(stage.name), {**stage.inputs, "before": dict(before)})
        before[stage.name] = record.digest
        yield stage, record


def _act(stage: Stage, context: Context) -> None:
    # Only `prepare` has no separate process to end.
    context.stop.raise_when_requested(stage.name == "prepare")
    try:
        stage.act(context)
    except DeepICDError as error:
        raise type(error)(f"{stage.name}: {error}") from None
    finally:
        context.stop.raise_when_requested(False)


@contextmanager
def _disk_full_as_user_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"{folder}: the disk is full: free space, then run again to resume") from None
        raise
