"""The model card, in the format of the Hugging Face Hub."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from deepicd.completion import TRACE_WARNING
from deepicd.evaluation import formatting
from deepicd.evaluation.card.public import is_of_hub, public_name, public_settings
from deepicd.evaluation.report import Report
from deepicd.evaluation.report.comparisons import last_pair
from deepicd.evaluation.report.overview import LEVEL_TITLES, facts, verdict_of
from deepicd.evaluation.report.section import part, render_text
from deepicd.evaluation.report.sections.distillation import teacher_of
from deepicd.evaluation.report.sections.reward import terms
from deepicd.evaluation.report.sections.settings import changed_settings
from deepicd.evaluation.warnings import SYNTHETIC, warnings

TEMPLATES = Path(__file__).parent / "templates"
TASK = "text-generation"


def model_card(report: Report, model: str) -> str:
    """The card of one model of a run as Markdown with YAML in front; `ModelCard.load` reads it back unchanged."""
    from huggingface_hub import ModelCard

    own = report.metrics[model]
    text = render_text(
        TEMPLATES,
        "README.md.j2",
        **content(report, model),
        cell=cell,
        prompts=report.prompts,
        left_out=report.left_out or (),
        terms=terms(report),
        changed=list(public_settings(changed_settings(report) or ())),
        sent=sent_notes(report),
        splits=how_split(report),
        versions=report.versions,
        own=own,
        fairness=part(own, "fairness") or {},
        calibration=part(own, "calibration"),
        absent=part(own, "absent") or {},
        trace_warning=TRACE_WARNING,
    )
    return str(ModelCard(f"---\n{_data(report, model).to_yaml()}\n---\n\n{text}"))


def cell(text: str) -> str:
    """A text as a cell of a Markdown table."""
    return " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def how_split(report: Report) -> str:
    """How the cohort was split, in a sentence."""
    prepared = (report.spec.get("data") or {}).get("prepared")
    return "The prepared cohort came with its splits." if prepared else "Splits are by patient."


def sent_notes(report: Report) -> list[str]:
    """Who received notes, and under which attestation; a sentence for each."""
    spec = report.spec
    distilled = (spec.get("stages") or {}).get("distill") or {}
    judge = (spec.get("reward") or {}).get("judge") or {}
    asked = {
        "teacher of its traces": distilled.get("teacher"),
        "judge of its reward": judge,
        "second judge": judge.get("second"),
    }
    return [
        f"Notes were sent to the {who} ({one.get('name')}), under this attestation: {' '.join(one['dataUse'].split())}"
        for who, one in asked.items()
        if one and one.get("dataUse")
    ]


def content(report: Report, model: str) -> dict[str, Any]:
    """The content that both files of a model share: names, facts, verdict, warnings and results."""
    pair = last_pair(report)
    return {
        "run": report.run,
        "model": model,
        "f": formatting,
        "version": version("deepicd"),
        "synthetic": SYNTHETIC if report.is_synthetic else None,
        "facts": _facts(report, model),
        "rewarded": model == "grpo",
        "traces": _traces(report),
        "verdict": verdict_of(report) if model == report.trained[-1] else None,
        "warnings": warnings({model: report.metrics[model]}, synthetic=False, left_out=report.left_out or ()),
        "metrics": {name: own for name, own in report.metrics.items() if name not in _later(report, model)},
        "pair": pair if pair is not None and pair.second == model else None,
        "level_titles": LEVEL_TITLES,
    }


def _facts(report: Report, model: str) -> dict[str, str]:
    """The report's facts for this model; a model's folder is shown by its last name only."""
    found, path = facts(report, until=model), (report.spec.get("model") or {}).get("path")
    if path:
        found["Model"] = found["Model"].replace(path, public_name(path))
    return found


def _traces(report: Report) -> str | None:
    """Who wrote the traces of SFT, and how many; None without the stage `distill`."""
    if report.distill is None:
        return None
    teacher = teacher_of(report.distill)
    return (
        f"SFT learned from {report.distill['traces']:,} reasoning traces that a language model "
        f"{f'({public_name(teacher)}) ' if teacher else ''}wrote about {report.distill['admissions']:,} training admissions"
        f"{', given the right code' if report.distill.get('oracle') else ''}."
    )


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
