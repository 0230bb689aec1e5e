"""Leaves out training prompts of GRPO by their difficulty for its start model (`stages.grpo.difficulty`)."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import structlog

from deepicd import atomic
from deepicd.data.rows import key
from deepicd.errors import UserError
from deepicd.evaluation.difficulty import Chosen, DifficultyPlan, choose, read_solved
from deepicd.evaluation.plan import CHUNK
from deepicd.run.context import Context
from deepicd.spec.training import DifficultySpec, GrpoSpec
from deepicd.training.device import device
from deepicd.training.launch import GuardedProcess, begin_launch, offline_environment
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import StepMetrics
from deepicd.training.supervise import supervise

_FIELD = "spec.stages.grpo.difficulty"


def training_prompts(context: Context, settings: GrpoSpec, model: Path) -> Path:
    """The file of prompts to train on: all, or those of the wanted difficulty.

    An interrupted sampling resumes. The counts by prompt and the histogram are in the stage's folder `difficulty/`.

    Args:
        context: of the run.
        settings: of GRPO.
        model: folder of the model that GRPO starts from.

    Raises:
        UserError: no prompt is left.
        CrashError, StallError, TerminatedError: see `supervise`.
    """
    everything, chosen = context.prompts("train"), settings.difficulty
    if chosen is None:
        return everything
    result = context.layout.stage("grpo").difficulty
    left = result.with_name("train.parquet")
    if result.exists() and left.exists():
        return left
    solved = result.with_name("solved.jsonl")
    _sample(context, settings, chosen, model, solved)
    found = choose(read_solved(solved), chosen)
    _report(found, chosen)
    _write_kept(everything, left, found)
    atomic.write_json(result, found.to_json(chosen))
    return left


def _sample(context: Context, settings: GrpoSpec, chosen: DifficultySpec, model: Path, solved: Path) -> None:
    spec = context.run.spec
    files = StageFiles(solved.parent)
    progress = begin_launch(files)
    device().check(spec.compute.gpus)
    engine = device().generator(spec.model.dtype, settings.tensor_parallel)
    plan = DifficultyPlan(
        model=str(model),
        prompts=str(context.prompts("train")),
        samples=chosen.samples,
        temperature=settings.temperature,
        top_k=settings.top_k,
        max_prompt_tokens=settings.max_prompt_tokens,
        max_response_tokens=settings.max_response_tokens,
        seed=spec.seed,
        opened_think=spec.model.opened_think,
        engine=engine,
        engines=device().engines(spec.compute.gpus, int(engine["tensor_parallel_size"]), {}),
        batch=CHUNK,
        parts=str(files.parts),
        solved=str(solved),
        progress=str(progress),
        total=str(files.loop_entered),
        phases=str(files.phases),
    )
    atomic.write_json(files.plan, asdict(plan))
    files.begin_phases()
    environment = {**offline_environment(), **device().engine_environment}
    process = GuardedProcess([sys.executable, "-m", "deepicd.evaluation.difficulty", str(files.plan)], environment, files.log)
    supervise(
        process, files, progress, stall_after=spec.recovery.stall_after, stop=context.stop, on_step=_log_step,
        on_phase=context.on_phase, training=False,
    )  # fmt: skip


def _log_step(row: StepMetrics, total: int | None) -> None:
    """They are no steps of GRPO."""
    structlog.get_logger().debug("difficulty", batch=row.step, batches=total)


def _report(found: Chosen, chosen: DifficultySpec) -> None:
    structlog.get_logger().info(
        "difficulty",
        text=f"{len(found.kept):,} of {sum(found.histogram):,} prompts kept; {found.dropped_solved:,} were solved too often, "
        f"{found.dropped_unsolved:,} too seldom",
        prompts=sum(found.histogram), kept=len(found.kept), dropped_solved=found.dropped_solved,
        dropped_unsolved=found.dropped_unsolved,
    )  # fmt: skip
    if not found.kept:
        raise UserError(
            f"{_FIELD}: leaves out all {sum(found.histogram)} prompts: "
            f"change dropSolved ({chosen.drop_solved}) or dropUnsolved ({chosen.drop_unsolved})"
        )


def _write_kept(everything: Path, target: Path, found: Chosen) -> None:
    table = pq.read_table(everything)
    ids = pc.cast(table[key(table.column_names)], pa.string())
    kept = table.filter(pc.is_in(ids, value_set=pa.array(sorted(found.kept), pa.string())))
    with atomic.replacing(target) as file:
        pq.write_table(kept, file, compression="zstd")
