"""The model card, in the form of the Hugging Face Hub."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepicd.evaluation import formatting
from deepicd.evaluation.report import Report
from deepicd.evaluation.report.comparisons import last_pair
from deepicd.evaluation.report.overview import LEVEL_TITLES, facts, verdict_of
from deepicd.evaluation.report.section import part, render_text
from deepicd.evaluation.report.sections.reward import terms
from deepicd.evaluation.report.sections.settings import changed_settings
from deepicd.evaluation.warnings import SYNTHETIC, warnings

TEMPLATES = Path(__file__).parent / "templates"
TASK = "text-generation"
PUBLIC = ("spec.model.", "spec.data.synthetic.", "spec.reward.", "spec.stages.", "spec.seed")
"""Settings that a card may show. The others name machines, stores and folders, and decide nothing about the model."""
_JUDGES = ("spec.reward.judge", "spec.reward.judge.second")
PRIVATE = ("spec.model.path", *(f"{judge}.{field}" for judge in _JUDGES for field in ("endpoint", "apiKey", "dataUse")))
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def model_card(report: Report, model: str) -> str:
    """The card of one model of a run as Markdown with YAML in front; `ModelCard.load` reads it back unchanged."""
    from huggingface_hub import ModelCard

    own = report.metrics[model]
    text = render_text(
        TEMPLATES,
        "README.md.j2",
        **content(report, model),
        prompts=report.prompts,
        left_out=report.left_out or (),
        terms=terms(report),
        changed=[
            one for one in changed_settings(report) or () if one.path.startswith(PUBLIC) and not one.path.startswith(PRIVATE)
        ],
        versions=report.versions,
        own=own,
        fairness=part(own, "fairness") or {},
        calibration=part(own, "calibration"),
        absent=part(own, "absent") or {},
    )
    return str(ModelCard(f"---\n{_data(report, model).to_yaml()}\n---\n\n{text}"))


def content(report: Report, model: str) -> dict[str, Any]:
    """What both files of a model say: names, facts, verdict, warnings and results."""
    pair = last_pair(report)
    return {
        "run": report.run,
        "model": model,
        "f": formatting,
        "version": version("deepicd"),
        "synthetic": SYNTHETIC if report.is_synthetic else None,
        "facts": _facts(report),
        "verdict": verdict_of(report) if model == report.trained[-1] else None,
        "warnings": warnings({model: report.metrics[model]}, synthetic=False, left_out=report.left_out or ()),
        "metrics": {name: own for name, own in report.metrics.items() if name not in _later(report, model)},
        "pair": pair if pair is not None and pair.second == model else None,
        "level_titles": LEVEL_TITLES,
    }


def _facts(report: Report) -> dict[str, str]:
    """The facts of the report, with a model's folder by its last name only."""
    found, path = facts(report), (report.spec.get("model") or {}).get("path")
    if path and not is_of_hub(path):
        found["Model"] = found["Model"].replace(path, Path(path).name)
    return found


def is_of_hub(path: str) -> bool:
    """Whether a model's path is a name of the Hugging Face Hub."""
    return bool(_HUB_NAME.fullmatch(path)) and not Path(path).exists()


def _later(report: Report, model: str) -> list[str]:
    """The models that the run trained after this one."""
    return report.trained[report.trained.index(model) + 1 :]


def _data(report: Report, model: str) -> Any:
    from huggingface_hub import EvalResult, ModelCardData

    own = report.metrics[model]
    base = (report.spec.get("model") or {}).get("path")
    kind = _data_kind(report.spec.get("data") or {})
    results = [
        EvalResult(
            task_type=TASK,
            dataset_type=kind,
            dataset_name=f"{facts(report).get('Data', kind)}: test split",
            dataset_split="test",
            metric_type=metric,
            metric_name=f"{title}, {name.lower()}",
            metric_value=round(value, 4),
        )
        for level, name in LEVEL_TITLES.items()
        for metric, key, title in (("f1", "macroF1", "Macro F1"), ("accuracy", "accuracy", "Accuracy"))
        if (value := own["levels"][level][key]["value"]) is not None  # type: ignore[literal-required]
    ]
    return ModelCardData(
        model_name=f"{report.run} ({model})",
        base_model=base if base and is_of_hub(base) else None,
        library_name="transformers",
        pipeline_tag=TASK,
        tags=[
            "deepicd",
            "icd-10-cm",
            "clinical-coding",
            "research-use-only",
            *(["synthetic-data"] if report.is_synthetic else []),
        ],
        eval_results=results,
    )


def _data_kind(data: Mapping[str, Any]) -> str:
    return next((name for name in ("synthetic", "mimic", "notes", "prepared") if data.get(name)), "unknown")
