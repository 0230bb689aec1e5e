"""Stage `evaluate`: predictions, metrics and report of the run's models on the test split."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from deepicd import atomic, prompt
from deepicd.artifacts.publish import installed_versions
from deepicd.data.prompts import FILE as PROMPTS_FILE
from deepicd.data.rows import is_local
from deepicd.evaluation import metrics, predictions, report
from deepicd.evaluation.answer import Plan
from deepicd.evaluation.predictions import Prediction
from deepicd.rewards import cohort_words
from deepicd.run.context import Context
from deepicd.run_layout import TRAINING_STAGES
from deepicd.spec.load import dump
from deepicd.spec.run import DeepICDRun, EvaluateSpec
from deepicd.spec.training import GrpoSpec
from deepicd.training.device import device
from deepicd.training.launch import GuardedProcess, offline_environment
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import KL_OF_UPDATE, KL_TO_REFERENCE, all_steps, next_launch
from deepicd.training.supervise import supervise


def models(context: Context, settings: EvaluateSpec) -> dict[str, Path]:
    """The models to evaluate by name, in the order of training."""
    trained = [name for name in TRAINING_STAGES if getattr(context.run.spec.stages, name) is not None]
    names = trained if trained and not settings.base else ["base", *trained]
    return {name: context.model(name) for name in names}


def evaluate(context: Context, settings: EvaluateSpec) -> None:
    """Fill the run's `evaluate/`: predictions.parquet, metrics.json, curves.jsonl, about.json, report.html."""
    results = context.layout.evaluation
    _answer(context, settings, results.predictions)
    by_model = predictions.read(results.predictions)
    measured = _measure(context, settings, by_model)
    _write_json(results.metrics, measured)
    _write_curves(context, results.curves)
    _write_json(results.about, about(context))
    report.write_report(report.load(context.layout.folder), results.report)


def _answer(context: Context, settings: EvaluateSpec, out: Path) -> None:
    spec = context.run.spec
    sampling = spec.stages.grpo or GrpoSpec()
    files = StageFiles(context.layout.stage("evaluate").folder)
    files.metrics.mkdir(parents=True, exist_ok=True)
    files.loop_entered.unlink(missing_ok=True)
    progress = next_launch(files.metrics)
    engine: dict[str, Any] = {
        "dtype": spec.model.dtype,
        "tensor_parallel_size": sampling.tensor_parallel,
        "gpu_memory_utilization": 0.9,
        **device().engine,
    }
    environment = {**offline_environment(), **device().engine_environment}
    plan = Plan(
        models={name: str(path) for name, path in models(context, settings).items()},
        test=str(context.prompts("test")),
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
        stages=str(context.layout.stages),
        engine=engine,
        out=str(out),
        progress=str(progress),
        total=str(files.loop_entered),
    )
    _write_json(files.plan, asdict(plan))
    process = GuardedProcess([sys.executable, "-m", "deepicd.evaluation.answer", str(files.plan)], environment, files.log)
    supervise(
        process, files, progress, stall_after=context.run.spec.recovery.stall_after, stop=context.stop,
        on_step=context.on_step, training=False,
    )  # fmt: skip


def _measure(context: Context, settings: EvaluateSpec, by_model: dict[str, list[Prediction]]) -> dict[str, Any]:
    rows = pq.read_table(context.prompts("train"), columns=["code", "extra_info"]).to_pylist()
    counts = Counter(row["code"] for row in rows)
    local = {row["code"] for row in rows if is_local(row["extra_info"])}
    return {
        name: metrics.compute(
            records,
            train_counts=counts,
            local_codes=local,
            bootstrap_samples=settings.bootstrap_samples,
            seed=context.run.spec.seed,
        )
        for name, records in by_model.items()
    }


def _write_curves(context: Context, path: Path) -> None:
    rows = [
        {"stage": stage, **row.to_json()} for stage in TRAINING_STAGES for row in all_steps(context.layout.stage(stage).metrics)
    ]
    atomic.write(path, "".join(json.dumps(row) + "\n" for row in rows))


def kl_name(run: DeepICDRun) -> str:
    """The name of the run's KL."""
    grpo = run.spec.stages.grpo
    return KL_TO_REFERENCE if grpo and (grpo.kl_loss or grpo.kl_in_reward) else KL_OF_UPDATE


def about(context: Context) -> dict[str, Any]:
    """What the report says about the run itself."""
    seconds = {}
    for stage in ("prepare", *TRAINING_STAGES):
        marker = context.layout.stage(stage).completed
        if marker.exists():
            seconds[stage] = json.loads(marker.read_text())["seconds"]
    return {
        "run": context.run.metadata.name,
        "settings": dump(context.run),
        "versions": installed_versions(),
        "stageSeconds": seconds,
        "klName": kl_name(context.run),
        "prompts": json.loads((context.layout.stage("prepare").prompts / PROMPTS_FILE).read_text(encoding="utf-8")),
        "reasoningOff": _reasoning_off(context),
    }


def _reasoning_off(context: Context) -> dict[str, int] | None:
    """Numbers of patients, and of those with a note in English, if too few turned the term `reasoning` off; else None."""
    words = cohort_words.of_run(context.layout.stages)
    if words is None or words.is_english or not context.run.spec.reward.scores_reasoning:
        return None
    return {"patients": words.patients, "english": words.english}


def _write_json(path: Path, content: Any) -> None:
    atomic.write(path, json.dumps(content, indent=2) + "\n")
