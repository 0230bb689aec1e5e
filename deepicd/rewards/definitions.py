"""What each term of a reward measures, in a sentence, for reports."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepicd.rewards import reasoning
from deepicd.rewards.terms import format_term, hierarchy, outcome
from deepicd.spec.judge import TERM as JUDGE

_OF_PRESETS: Mapping[str, Mapping[str, str]] = {
    "deepicd-r1": {
        "code": "15 for each character of the gold code if the answer is right, less for a common prefix, -1 without one or "
        "without an answer.",
        "trace": "1 if there is a trace before the diagnosis, else 0.",
        "several": "-1 for each pair of trace and diagnosis after the first.",
        "empty": "-5 for an empty completion.",
    },
    "strict": {
        "right": "1 for the gold code in the required form, without a fault.",
        "no_answer": "1 if both parts are there and do not name exactly one existing code.",
        "no_form": "1 if the trace or the diagnosis is missing.",
    },
}


def definition(reward: Mapping[str, Any], term: str) -> str:
    """What a term of this reward measures. `reward`: run.yaml's `spec.reward`, as a mapping."""
    own = (reward.get("terms") or {}).get(term)
    if own is not None:
        place = f"{own['function']} of {Path(own['file']).name}" if own.get("file") else own.get("path", "")
        return f"The run's own function {place}."
    if term == JUDGE:
        return "The weighted share of good answers that the judge gives to its rubric's questions."
    if term == f"{JUDGE}_missing":
        return "Share of completions without the judge's verdict; not part of the reward."
    return _OF_PRESETS.get(reward.get("preset", "deepicd"), _of_deepicd()).get(term, "")


def _of_deepicd() -> Mapping[str, str]:
    """The first sentence of the docstring where each term is computed, without the term's name."""
    documented = {"outcome": outcome, "format": format_term, "hierarchy": hierarchy, "reasoning": reasoning}
    texts = {name: (inspect.getdoc(where) or "") for name, where in documented.items()}
    first = {name: " ".join(text.partition("\n\n")[0].split()).replace("`", "") for name, text in texts.items()}
    named = {name: text.removeprefix(f"The term {name}: ") for name, text in first.items()}
    return {name: text[:1].upper() + text[1:] for name, text in named.items()}
