"""Faults of the completions, and completions from which no code could be read."""

from __future__ import annotations

from collections.abc import Sequence

from deepicd.completion import CODE_FAULTS, NOT_BARE
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.report import charts
from deepicd.evaluation.report.inputs import Report
from deepicd.evaluation.report.section import Section, render

TITLES = {
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


def section(report: Report) -> Section | None:
    """Share of completions with each fault, by model; None if no completion was parsed."""
    parsed = {model: own for model, own in report.metrics.items() if own["rates"]["format"]["value"] is not None}
    if not parsed:
        return None
    names = list(dict.fromkeys(name for own in parsed.values() for name in own["rates"]["faults"]))
    found = {
        name: {model: own["rates"]["faults"].get(name, {"value": 0.0, "interval": None}) for model, own in parsed.items()}
        for name in names
    }
    seen = [name for name in names if any(measure["value"] for measure in found[name].values())]
    rows = [charts.bar(TITLES.get(name, name), model, measure) for name in seen for model, measure in found[name].items()]
    drawn = {}
    if rows:
        titles = [TITLES.get(name, name) for name in seen]
        position = {"field": "group", "type": "nominal", "sort": titles, "title": None}
        layers = charts.bar_layers(rows, "x", position, list(parsed), title="completions with the fault (%)")
        height = (13 * len(parsed) + 10) * len(seen)
        description = f"Faults in percent of completions. {charts.said(rows)}"
        drawn["faults"] = charts.chart(description, height, data=charts.values(rows), layer=layers)
    html = render(
        "faults.html.j2",
        report=report,
        models=list(parsed),
        unreadable={model: _unreadable(report.predictions[model]) for model in parsed},
        unread_faults={name: title for name, title in TITLES.items() if name not in CODE_FAULTS | NOT_BARE},
        has_chart=bool(drawn),
    )
    return Section("faults", "Faulty answers", "Faults", html, drawn)


def _unreadable(records: Sequence[Prediction]) -> dict[str, int]:
    """Admissions whose completion does not name exactly one code: total under `all`, and by fault."""
    unread = [record for record in records if record.prediction is None]
    faults = [fault for record in unread for fault in record.faults or ()]
    return {"all": len(unread)} | {name: faults.count(name) for name in sorted(set(faults))}
