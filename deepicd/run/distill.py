"""Stage `distill`: reasoning traces from a teacher, and the SFT examples made of them."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import structlog

from deepicd import prompt
from deepicd.distill.plan import DistillPlan
from deepicd.errors import UserError
from deepicd.phases import Phase, PhaseStart
from deepicd.rewards import cohort_words
from deepicd.run.context import Context
from deepicd.run.teacher_model import identity_of, teacher_model
from deepicd.spec.distill import DistillSpec
from deepicd.training.launch import GuardedProcess, begin_launch, offline_environment
from deepicd.training.stage_files import StageFiles
from deepicd.training.supervise import supervise
from deepicd.training.teacher_server import teacher_server


def distill(context: Context, settings: DistillSpec) -> None:
    """Fill the stage's folder: `traces.jsonl` and `distill.json`. The teacher's answers are in the run's `teacher/`.

    Raises:
        UserError, CrashError, TeacherError, TerminatedError: see `supervise`, `teacher_server` and `deepicd.distill.main`.
    """
    files = StageFiles(context.layout.stage("distill").folder)
    progress = begin_launch(files)
    for leftover in (files.traces, files.example_counts):
        leftover.unlink(missing_ok=True)
    model = teacher_model(settings.teacher)
    plan = _plan(context, settings, model, files, progress)
    files.plan.write_text(plan.to_json())
    with ExitStack() as stack:
        if model is not None:
            context.on_phase(PhaseStart(Phase.SERVER, log=files.teacher_log))
        variables = stack.enter_context(teacher_server(context.run, model, files, context.stop))
        files.begin_phases()
        process = GuardedProcess(
            [sys.executable, "-m", "deepicd.distill.main", str(files.plan)], {**offline_environment(), **variables}, files.log
        )
        # It gives up by itself, and collecting the later parts makes no steps.
        patience = settings.teacher.give_up_after + context.run.spec.recovery.stall_after
        supervise(
            process, files, progress, stall_after=patience, stop=context.stop, on_step=context.on_step,
            on_phase=context.on_phase, training=False,
        )  # fmt: skip
    _report(json.loads(files.distill_counts.read_text()), files.distilled)


def _plan(context: Context, settings: DistillSpec, model: str | None, files: StageFiles, progress: Path) -> DistillPlan:
    data, layout = context.run.spec.data, context.layout
    own = None
    if model is not None and not settings.oracle and (stored := prompt.stored(Path(model))) is not None:
        own = stored.prompt
    discharge = data.mimic.note if data.mimic else str(layout.stage("prepare").tables / "note") if data.synthetic else None
    words = cohort_words.of_run(layout.stages)
    notes: dict[str, Any] | None = None if data.notes is None else data.notes.model_dump(mode="json")
    return DistillPlan(
        settings=settings.model_dump(mode="json"),
        identity=identity_of(settings.teacher, model),
        own_prompt=None if own is None else asdict(own),
        seed=context.run.spec.seed,
        prompts=str(context.prompts("train")),
        student_prompt=asdict(prompt.of(context.run.spec.model.prompt)),
        cohort=str(context.cohort),
        notes=notes,
        discharge=discharge,
        english=words is None or words.is_english,
        answers=str(layout.teacher),
        later=str(files.later),
        traces=str(files.distilled),
        counts=str(files.distill_counts),
        progress=str(progress),
        total=str(files.loop_entered),
        phases=str(files.phases),
        failure=str(files.failure),
    )


def _report(counts: dict[str, Any], traces: Path) -> None:
    """Log what was kept. Raises: UserError: nothing was."""
    log = structlog.get_logger()
    shown = ", ".join(f"{rule} {number:,}" for rule, number in sorted(counts["rejected"].items(), key=lambda pair: -pair[1]))
    kept, admissions, answers = counts["traces"], counts["admissions"], counts["answers"]
    log.info(
        "traces",
        text=f"{kept:,} for {admissions:,} admissions, from {answers:,} answers; rejected: {shown or 'none'}",
        traces=kept, admissions=admissions, answers=answers, rejected=shown or "none", cost=counts["cost"], file=str(traces),
    )  # fmt: skip
    if counts["answersWithoutTokens"]:
        log.warning(
            f"stages.distill: the teacher gave no number of tokens with {counts['answersWithoutTokens']:,} answers: "
            "tokens and cost are those of the others"
        )
    if counts["laterParts"] == "unknown":
        log.warning("stages.distill: the rule later is off: the run has no summaries to compare with (data.prepared)")
    if not counts["english"]:
        log.warning("stages.distill: the rules later, contradicted and unfounded are off: most notes are not in English")
    if not counts["traces"]:
        raise UserError(
            f"spec.stages.distill: no answer passed the filters ({shown or 'no answers'}): "
            "use a better teacher, or change stages.distill.filters"
        )
