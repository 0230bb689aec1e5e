"""report.html of a run: one file that opens without a network and holds no note text.

It uses only numbers, codes and settings: no field of `Report` can hold a note.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import yaml
from markupsafe import Markup

from deepicd import atomic
from deepicd.completion import CODE_FAULTS, NOT_BARE
from deepicd.data.shorten import ORDER, WHOLE
from deepicd.errors import UserError
from deepicd.evaluation import confusion, curves, figures, formatting, predictions
from deepicd.evaluation.metrics import compare
from deepicd.evaluation.metrics_schema import Comparison, Metrics
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.result_files import read_metrics, read_object, read_rows
from deepicd.evaluation.warnings import warnings
from deepicd.run_layout import RunLayout

FAULT_TITLES = {
    "no_trace": "No reasoning trace",
    "no_diagnosis": "No diagnosis",
    "diagnosis_in_trace": "Diagnosis tag in the trace",
    "several_diagnoses": "Several diagnoses",
    "repeated_diagnosis": "The same diagnosis twice",
    "truncated": "Cut off at the token limit",
    "text_outside": "Text outside the two parts",
    "decorated": "Code is not written bare",
    "not_a_code": "Diagnosis is not a code",
    "unknown_code": "Code is in no release",
    "not_billable": "Code is a header",
}
_KL_OF_UPDATE = "actor/ppo_kl"
_KL_NOTES = {
    True: "KL is verl's actor/ppo_kl: between the policy that sampled a step's completions and the policy being "
    "updated on them. It is not the distance from the model that GRPO started from.",
    False: "KL is to the reference policy, the model that GRPO started from.",
}


@dataclass(frozen=True, slots=True)
class Report:
    """The data of the report."""

    run: str
    """Name of the run."""
    metrics: Mapping[str, Metrics]
    """Metrics of every model, in the order of training: base, sft, grpo."""
    predictions: Mapping[str, Sequence[Prediction]]
    """Predictions of the same models, all for the same admissions."""
    curves: Sequence[Mapping[str, Any]]
    """One row per training step: `stage` (sft or grpo), `step`, and, if known, `reward`, `kl`, `loss`,
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
    """SFT's examples whose trace had `<think>` tags around it, which were taken off."""
    reasoning_off: Mapping[str, int] | None = None
    """`patients` of the training set and how many have a note in `english`; None unless that turned `reasoning` off."""
    judge: Mapping[str, Any] | None = None
    """The judge's `rubric` (version, criteria); of GRPO's `completions` how many verdicts are `missing`; `agreement`
    (correlation with each other term); `alarm`, if its mean rose and the outcome did not. None without a judge."""


def load(run_folder: Path) -> Report:
    """Read the files that `deepicd evaluate` wrote to a run folder.

    Raises:
        UserError: a file is missing or invalid.
    """
    place = RunLayout(run_folder).evaluation
    about = read_object(place.about, ("run", "settings", "versions", "stageSeconds", "klName"))
    metrics = read_metrics(place.metrics)
    known = predictions.read(place.predictions)
    if not metrics or set(metrics) != set(known):
        raise UserError(f"{place.folder}: metrics.json and predictions.parquet hold different models: evaluate the run again")
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
    )


def write_report(report: Report, out: Path) -> None:
    """Write the page. The same report gives the same bytes.

    Raises:
        UserError: two models did not answer the same admissions.
        ValueError: `report` has no model.
    """
    atomic.write(out, html(report))


def html(report: Report) -> str:
    """The report as HTML; see `write_report`."""
    if not report.metrics:
        raise ValueError("a report needs the metrics of at least one model")
    models = list(report.metrics)
    last = models[-1]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["f"] = formatting
    grpo = [row for row in report.curves if row["stage"] == "grpo"]
    drawn = {
        "levels": figures.f1_by_level(report.metrics),
        "sft": curves.sft_curves([row for row in report.curves if row["stage"] == "sft"]),
        "grpo": curves.grpo_curves(grpo, report.kl_name),
        "terms": curves.term_curves(grpo),
        "confusion": figures.chapter_confusion(confusion.by_chapter(report.predictions[last]), last),
        "frequency": figures.f1_by_frequency(report.metrics),
        "faults": figures.faults(report.metrics, FAULT_TITLES),
    }
    settings = report.settings
    return environment.get_template("report.html.j2").render(
        report=report,
        models=models,
        last=last,
        warnings=warnings(report.metrics, synthetic=_is_synthetic(report.settings)),
        figures={name: figure and Markup(figure) for name, figure in drawn.items()},  # noqa: S704 - svg.render escapes
        differences=_differences(report),
        unreadable={model: _unreadable(report.predictions[model]) for model in models},
        unread_faults={name: title for name, title in FAULT_TITLES.items() if name not in CODE_FAULTS | NOT_BARE},
        level_names=figures.LEVEL_NAMES,
        short_titles=confusion.SHORT_TITLES,
        chapters=_chapters(report.metrics),
        kl_note=_KL_NOTES[report.kl_name == _KL_OF_UPDATE],
        smoothed_above=curves.SMOOTHED_ABOVE,
        shortened_sections=_shortened_sections(report.prompts),
        longest_stage=max([*report.stage_seconds.values(), 1e-9]),
        settings=settings if isinstance(settings, str) else yaml.safe_dump(dict(settings), sort_keys=False),
    )


def _is_synthetic(settings: str | Mapping[str, Any]) -> bool:
    """Whether the run's data are synthetic, by its run.yaml."""
    content = yaml.safe_load(settings) if isinstance(settings, str) else settings
    return bool(((content or {}).get("spec") or {}).get("data", {}).get("synthetic"))


def _differences(report: Report) -> list[tuple[str, str, Comparison]]:
    """Every pair of models, later minus earlier. Pairs of consecutive models come first."""
    models = list(report.metrics)
    pairs = [(models[at], models[at + gap]) for gap in range(1, len(models)) for at in range(len(models) - gap)]
    return [(first, second, difference(report, first, second)) for first, second in pairs]


def difference(report: Report, first: str, second: str) -> Comparison:
    """Paired difference of two models, `second - first`, on the samples of patients of the report's intervals."""
    bootstrap = report.metrics[first]["bootstrap"]
    return compare(
        report.predictions[first],
        report.predictions[second],
        bootstrap_samples=bootstrap["samples"],
        seed=bootstrap["seed"],
    )


def _unreadable(records: Sequence[Prediction]) -> dict[str, int]:
    """Admissions whose completion names no single code: total under `all`, and by fault."""
    unread = [record for record in records if record.prediction is None]
    faults = [fault for record in unread for fault in record.faults or ()]
    return {"all": len(unread)} | {name: faults.count(name) for name in sorted(set(faults))}


def _shortened_sections(prompts: Mapping[str, Any] | None) -> list[str]:
    """Names of the sections that were shortened in any split, in the order of shortening."""
    order = [*(kind.value for kind in ORDER), WHOLE]
    found = {name for split in (prompts or {"splits": {}})["splits"].values() for name in split["sections"]}
    return sorted(found, key=order.index)


def _chapters(metrics: Mapping[str, Metrics]) -> list[dict[str, Any]]:
    """Rows of the table by chapter, with the metrics of every model."""
    own = [{row["chapter"]: row for row in model["byChapter"]} for model in metrics.values()]
    return [
        {
            "chapter": chapter,
            "title": row["title"],
            "admissions": row["admissions"],
            "models": [chapters[chapter] for chapters in own],
        }
        for chapter, row in own[-1].items()
    ]
