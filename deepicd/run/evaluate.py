"""Stage `evaluate`: predictions, metrics and report of the run's models on the test split."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog

from deepicd import atomic, prompt
from deepicd.artifacts.publish import installed_versions
from deepicd.data.prompts import FILE as PROMPTS_FILE
from deepicd.data.sft import Examples
from deepicd.errors import CrashError, UserError
from deepicd.evaluation import classes, predictions, report
from deepicd.evaluation.card import write_cards
from deepicd.evaluation.comparable import is_judged
from deepicd.evaluation.comparisons import compare_all
from deepicd.evaluation.plan import CHUNK, EvaluationPlan, Model
from deepicd.evaluation.predictions import Prediction
from deepicd.phases import Phase, PhaseStart
from deepicd.rewards import cohort_words
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.judging import REWARD, WITHOUT_JUDGE
from deepicd.rewards.judge.rubric import load_rubric
from deepicd.rewards.judge.second import SecondSums
from deepicd.run import stage_record
from deepicd.run.baselines import baselines, wanted
from deepicd.run.context import Context
from deepicd.run.curves import curve_rows
from deepicd.run.measure import TrainingCodes, measure
from deepicd.run.prepare import not_used
from deepicd.run.reward_inputs import reward_inputs
from deepicd.run_layout import TRAINING_STAGES, RunLayout
from deepicd.spec.evaluate import EvaluateSpec
from deepicd.spec.judge import JudgeModelSpec
from deepicd.spec.load import dump
from deepicd.spec.run import DeepICDRun
from deepicd.spec.training import GrpoSpec
from deepicd.training.device import device
from deepicd.training.judge_server import Shared, judge_server
from deepicd.training.launch import GuardedProcess, begin_launch, offline_environment
from deepicd.training.sft_validation import SftEnd
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import KL_OF_UPDATE, KL_TO_REFERENCE
from deepicd.training.supervise import supervise

BESIDE = 0.45
"""Share of each GPU that the judge gets, and the model that answers, where they are on the same GPUs: both are awake."""


def models(context: Context, settings: EvaluateSpec) -> dict[str, Path]:
    """The models to evaluate by name, in the order of training."""
    trained = [name for name in TRAINING_STAGES if getattr(context.run.spec.stages, name) is not None]
    names = trained if trained and not settings.base else ["base", *trained]
    return {name: context.model(name) for name in names}


def evaluate(context: Context, settings: EvaluateSpec) -> None:
    """Fill the run's `evaluate/` (`deepicd.run_layout.EvaluationLayout`). The models' cards are in their folders too."""
    results = context.layout.evaluation
    _answer(context, settings, results.predictions)
    by_model = predictions.read(results.predictions)
    if wanted(settings):
        by_model = {**baselines(context, settings, next(iter(by_model.values()))), **by_model}
        predictions.write(results.predictions, by_model)
    context.on_phase(PhaseStart(Phase.METRICS))
    name = reward_name(context.run, by_model)
    if name == WITHOUT_JUDGE:
        structlog.get_logger().warning(
            f"reward.judge: was not available: the test split's reward excludes it, and is called {WITHOUT_JUDGE}: once the "
            f"judge is available, delete {context.layout.stage('evaluate').completed} and run again",
            log=str(context.layout.stage("evaluate").log),
        )
    training = TrainingCodes.read(context.prompts("train"))
    seed = context.run.spec.seed
    seconds = json.loads(context.layout.stage("evaluate").answer_seconds.read_text())
    measured = measure(
        by_model, settings, training=training, test=context.prompts("test"), seed=seed, reward_name=name, seconds=seconds
    )
    atomic.write_json(results.metrics, measured)
    atomic.write_json(results.comparisons, compare_all(by_model, bootstrap_samples=settings.bootstrap_samples, seed=seed))
    classes.write(results.classes, classes.rows(by_model, training.counts))
    _write_curves(context, results.curves)
    atomic.write_json(results.about, about(context))
    context.on_phase(PhaseStart(Phase.REPORT))
    found = report.load(context.layout.folder)
    report.write_report(found, results.report)
    write_cards(found, context.layout)


def are_whole(layout: RunLayout) -> bool:
    """Whether the results of a finished evaluation are there and can be read: if not, it is repeated from its kept answers."""
    try:
        report.load(layout.folder)
    except UserError:
        return False
    return layout.evaluation.report.is_file()


def _answer(context: Context, settings: EvaluateSpec, out: Path) -> None:
    spec = context.run.spec
    sampling = spec.stages.grpo or GrpoSpec()
    files = StageFiles(context.layout.stage("evaluate").folder)
    progress = begin_launch(files)
    shares = spec.reward.judge is not None and spec.reward.judge.colocated
    engine: dict[str, Any] = device().generator(spec.model.dtype, sampling.tensor_parallel, *([BESIDE] if shares else []))
    environment = {**offline_environment(), **device().engine_environment}
    plan = EvaluationPlan(
        models=[asdict(model) for model in _asked_models(context, settings)],
        test=str(context.prompts("test")),
        cohort=str(context.split("test")),
        prompt=asdict(prompt.of(spec.model.prompt)),
        max_admissions=settings.max_admissions,
        samples=settings.samples,
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        max_prompt_tokens=sampling.max_prompt_tokens,
        max_response_tokens=sampling.max_response_tokens,
        seed=spec.seed,
        opened_think=spec.model.opened_think,
        reward=spec.reward.model_dump(exclude_unset=True),
        constrained=settings.constrained,
        premature_closure=settings.premature_closure,
        stages=str(context.layout.stages),
        engine=engine,
        engines=[],
        batch=CHUNK,
        parts=str(files.parts),
        out=str(out),
        seconds=str(files.answer_seconds),
        progress=str(progress),
        total=str(files.loop_entered),
        phases=str(files.phases),
        failure=str(files.failure),
    )
    files.begin_phases()
    with _judge(context, files) as variables:
        engines = device().engines(spec.compute.gpus, int(engine["tensor_parallel_size"]), variables)
        atomic.write_json(files.plan, asdict(replace(plan, engines=engines)))
        process = GuardedProcess(
            [sys.executable, "-m", "deepicd.evaluation.answer", str(files.plan)], {**environment, **variables}, files.log
        )
        supervise(
            process, files, progress, stall_after=context.run.spec.recovery.stall_after, stop=context.stop,
            on_step=context.on_step, on_phase=context.on_phase, training=False,
        )  # fmt: skip


def _asked_models(context: Context, settings: EvaluateSpec) -> list[Model]:
    """The models to ask, others before those of the run: the report's last model is the last that was trained."""
    others = [
        Model(name, other.path, own=False, prompt=None if other.prompt is None else asdict(prompt.of(other.prompt)))
        for name, other in settings.models.items()
    ]
    return [*others, *(Model(name, str(path), own=True, prompt=None) for name, path in models(context, settings).items())]


@contextmanager
def _judge(context: Context, files: StageFiles) -> Iterator[Mapping[str, str]]:
    """The judge's server during the body, if the run has one and it starts: the evaluation can do without."""
    with ExitStack() as stack:
        try:
            variables = stack.enter_context(
                judge_server(context.run, files, context.stop, Shared(BESIDE, sleeps=False), needed=False, second=False)
            )
        except CrashError as error:
            structlog.get_logger().warning(str(error))
            variables = {}
        yield variables


def reward_name(run: DeepICDRun, by_model: Mapping[str, Sequence[Prediction]]) -> str:
    """What the predictions' rewards are called: without a judge that the run has, they have another name."""
    return REWARD if run.spec.reward.judge is None or is_judged(by_model) else WITHOUT_JUDGE


def _write_curves(context: Context, path: Path) -> None:
    atomic.write(path, "".join(json.dumps(row) + "\n" for row in curve_rows(context.layout)))


def kl_name(run: DeepICDRun) -> str:
    """The name of the run's KL."""
    grpo = run.spec.stages.grpo
    return KL_TO_REFERENCE if grpo and (grpo.kl_loss or grpo.kl_in_reward) else KL_OF_UPDATE


def about(context: Context) -> dict[str, Any]:
    """What the report says about the run itself."""
    seconds = {}
    made_by = "prepare" if context.run.spec.stages.distill is None else "distill"
    examples = Examples.read(context.layout.stage(made_by).trace_counts)
    for stage in ("prepare", "distill", *TRAINING_STAGES):
        if (took := stage_record.seconds(context.layout.stage(stage).completed)) is not None:
            seconds[stage] = took
    return {
        "run": context.run.metadata.name,
        "settings": dump(context.run),
        "versions": installed_versions(),
        "stageSeconds": seconds,
        "klName": kl_name(context.run),
        "prompts": json.loads((context.layout.stage("prepare").prompts / PROMPTS_FILE).read_text(encoding="utf-8")),
        "reasoningOff": _reasoning_off(context),
        "leftOut": [asdict(one) for one in not_used(context)],
        "tracesUntagged": 0 if examples is None else examples.untagged,
        "distill": _json_of(context.layout.stage("distill").distill_counts),
        "difficulty": _json_of(context.layout.stage("grpo").difficulty),
        "sftEnd": about_sft_end(context.layout.stage("sft").sft_end),
        "judge": about_judge(context.run, context.layout.stage("grpo").judged),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "hardware": hardware(context.run),
        "rewardInputs": reward_inputs(context),
    }


def about_sft_end(path: Path) -> dict[str, Any] | None:
    """How SFT ended, with the same in words; None without a validation of its loss."""
    end = SftEnd.read(path)
    return None if end is None else {**asdict(end), "text": str(end)}


def hardware(run: DeepICDRun) -> dict[str, Any]:
    """What the run trains on; see `Report.hardware`."""
    ranks = run.spec.compute.gpus * run.spec.compute.nodes
    return device().describe(ranks) | ({"judgeGpus": run.spec.judge_gpus} if run.spec.judge_gpus else {})


def about_judge(run: DeepICDRun, judged: Path) -> dict[str, Any] | None:
    """The judge's rubric and, from its log of GRPO, how it agrees with the other terms; None without a judge."""
    judge = run.spec.reward.judge
    if judge is None:
        return None
    rubric = load_rubric(judge.rubric)
    steps = list(watch.read_file(judged).values())
    agreement = {name: _known(value) for name, value in watch.agreement(steps).items()}
    return {
        "rubric": rubric.model_dump(include={"version", "criteria"}, mode="json"),
        "completions": sum(step.completions for step in steps),
        "missing": sum(step.missing for step in steps),
        "agreement": agreement,
        "alarm": watch.alarm(steps),
        "second": None if judge.second is None else _about_second(judge.second, watch.read_file(judged, "validation")),
    }


def _about_second(second: JudgeModelSpec, validations: Mapping[int, watch.StepSums]) -> dict[str, Any]:
    """What the second judge said over all validations, beside the judge; numbers that are not known are None."""
    sums, first, judged = SecondSums(), 0.0, 0
    for step in validations.values():
        outcome = step.terms.get(watch.OUTCOME, watch.Sums())
        first, judged = first + outcome.x, judged + outcome.count
        if step.second is not None:
            sums.merge(step.second.to_dict())
    found = {name: pairs.kappa for name, pairs in sums.criteria.items()}
    return {
        "model": second.identity,
        "completions": sums.values + sums.missing,
        "missing": sums.missing,
        "mean": _known(sums.mean),
        "judge": _known(first / judged if judged else math.nan),
        "criteria": {name: {"agreed": _known(one.agreed), "kappa": _known(one.kappa)} for name, one in found.items()},
        "agreed": _known(sums.agreement.agreed),
        "kappa": _known(sums.agreement.kappa),
    }


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _reasoning_off(context: Context) -> dict[str, int] | None:
    """Numbers of patients, and of those with a note in English, if too few turned the term `reasoning` off; else None."""
    words = cohort_words.of_run(context.layout.stages)
    if words is None or words.is_english or not context.run.spec.reward.scores_reasoning:
        return None
    return {"patients": words.patients, "english": words.english}


def _json_of(path: Path) -> Any:
    """A file's content; None without the file."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
