"""The data of the report, and how it is read from a run's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from deepicd.errors import UserError
from deepicd.evaluation import classes, predictions
from deepicd.evaluation.metrics_schema import Metrics
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.result_files import read_metrics, read_object, read_rows
from deepicd.run_layout import MODELS, EvaluationLayout, RunLayout


@dataclass(frozen=True, slots=True)
class Report:
    """The data of the report."""

    run: str
    """Name of the run."""
    metrics: Mapping[str, Metrics]
    """Metrics of every model: baselines and other models, then those of the training in its order: base, sft, grpo."""
    predictions: Mapping[str, Sequence[Prediction]]
    """Predictions of the same models, all for the same admissions."""
    curves: Sequence[Mapping[str, Any]]
    """One row per training step: `stage` (sft or grpo), `step`, and any numbers of the step, such as `reward`, `kl`, `loss`,
    `responseTokens`, `validationReward`, `validationLoss` and `terms` (term to its mean on the validation split)."""
    stage_seconds: Mapping[str, float]
    """Duration of each stage."""
    settings: str | Mapping[str, Any]
    """The run.yaml with every default filled in, as text or as a mapping."""
    versions: Mapping[str, str]
    """Versions of the relevant packages."""
    kl_name: str
    """Name of the rows' `kl`: `actor/ppo_kl`, or the KL to the reference policy."""
    prompts: Mapping[str, Any] | None = None
    """Budgets and counts of shortened notes (`deepicd.data.prompts.PromptCounts`); None in runs of earlier versions."""
    left_out: Sequence[Mapping[str, Any]] | None = None
    """What the run did not use (`deepicd.data.left_out.LeftOut`); None in runs of earlier versions."""
    traces_untagged: int = 0
    """SFT's examples whose trace had `<think>` tags around it, which were removed."""
    reasoning_off: Mapping[str, int] | None = None
    """`patients` of the training set and how many have a note in `english`; None unless that turned `reasoning` off."""
    judge: Mapping[str, Any] | None = None
    """The judge's `rubric` (version, criteria); of GRPO's `completions` how many verdicts are `missing`; `agreement`
    (correlation with each other term); `alarm`, if its mean rose and the outcome did not; of a `second` judge its `model`, and
    over the validations of GRPO its `completions`, `missing` verdicts, `mean` beside the `judge`'s, share of answers `agreed`
    with the judge, `kappa`, and both by `criteria`. None without a judge."""
    finished: str | None = None
    """When the evaluation ended, ISO 8601 in UTC; None in runs of earlier versions."""
    hardware: Mapping[str, Any] | None = None
    """`name` and number of `gpus` of all ranks and of the judge (`judgeGpus`), or `name` and number of `cores` of a run on
    CPUs; None in runs of earlier versions."""
    distill: Mapping[str, Any] | None = None
    """Counts of the stage `distill`: `answers` of the `teacher`, those `rejected` by rule, `traces` that were kept, `tokens`,
    `cost`; None without the stage."""
    difficulty: Mapping[str, Any] | None = None
    """GRPO's training prompts, by how often its start model solves them: `histogram` from 0 to `samples`, `prompts`, `kept`,
    `droppedSolved`, `droppedUnsolved`; None if difficulty decides nothing."""
    sft_end: str | None = None
    """How SFT ended, in a sentence without a full stop; None without a validation of its loss."""
    comparisons: Mapping[str, Any] | None = None
    """`pairs` of models with the paired difference of each measure (`deepicd.io/comparisons/v1`); None without the file."""
    classes: Sequence[Mapping[str, Any]] | None = None
    """Rows of by_class.parquet (`deepicd.evaluation.classes`); None without the file."""

    @property
    def content(self) -> Mapping[str, Any]:
        """The run.yaml as a mapping."""
        found = yaml.safe_load(self.settings) if isinstance(self.settings, str) else self.settings
        return found if isinstance(found, Mapping) else {}

    @property
    def spec(self) -> Mapping[str, Any]:
        """The run.yaml's `spec`."""
        return self.content.get("spec") or {}

    @property
    def is_synthetic(self) -> bool:
        """Whether the admissions are invented."""
        return bool((self.spec.get("data") or {}).get("synthetic"))

    @property
    def trained(self) -> list[str]:
        """Models of the run's own training, in order; all models if none of them has such a name."""
        return [name for name in self.metrics if name in MODELS] or list(self.metrics)

    @property
    def last(self) -> Metrics:
        """Metrics of the last trained model. Values that all models share are read from them, because other models may lack
        rewards.
        """
        return self.metrics[self.trained[-1]]


def load(run_folder: Path) -> Report:
    """Read the files that `deepicd evaluate` wrote to a run folder.

    Raises:
        UserError: a file is missing or invalid.
    """
    return load_results(RunLayout(run_folder).evaluation)


def load_results(place: EvaluationLayout) -> Report:
    """The same from only the folder of the results, such as one that was fetched from a store."""
    about = read_object(place.about, ("run", "settings", "versions", "stageSeconds", "klName"))
    metrics = read_metrics(place.metrics)
    known = predictions.read(place.predictions)
    if not metrics or set(metrics) != set(known):
        raise UserError(f"{place.folder}: metrics.json and predictions.parquet have different models: evaluate the run again")
    by_class = classes.read(place.classes) if place.classes.is_file() else None
    if by_class is not None and {row["model"] for row in by_class} != set(metrics):
        raise UserError(f"{place.folder}: metrics.json and by_class.parquet have different models: evaluate the run again")
    return Report(
        run=about["run"],
        metrics=metrics,
        predictions=known,
        curves=read_rows(place.curves),
        stage_seconds=about["stageSeconds"],
        settings=about["settings"],
        versions=about["versions"],
        kl_name=about["klName"],
        prompts=about.get("prompts"),
        left_out=about.get("leftOut"),
        traces_untagged=about.get("tracesUntagged", 0),
        reasoning_off=about.get("reasoningOff"),
        judge=about.get("judge"),
        finished=about.get("finished"),
        hardware=about.get("hardware"),
        distill=about.get("distill"),
        difficulty=about.get("difficulty"),
        sft_end=(about.get("sftEnd") or {}).get("text"),
        comparisons=read_object(place.comparisons, ("pairs",)) if place.comparisons.is_file() else None,
        classes=by_class,
    )
