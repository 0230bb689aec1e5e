"""Predictions for notes outside any run. Imports vLLM."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from deepicd import completion, icd10
from deepicd.completion import Completion
from deepicd.evaluation.generate import Generator


def predict_notes(
    model: Path,
    notes: Sequence[str],
    *,
    max_prompt_tokens: int,
    max_response_tokens: int,
    engine: Mapping[str, Any],
    with_traces: bool,
) -> list[dict[str, Any]]:
    """Greedy answer for each note: code, its shown form and description, what was wrong with the completion."""
    generator = Generator(
        model, max_prompt_tokens=max_prompt_tokens, max_response_tokens=max_response_tokens, engine=engine, seed=0
    )
    generated = [choices[0] for choices in generator.generate(notes)]
    opened = generator.opened_think
    generator.close()
    parsed = [completion.parse(one.text, opened_think=opened, truncated=one.truncated) for one in generated]
    return [_show(one, with_traces=with_traces) for one in parsed]


def _show(parsed: Completion, *, with_traces: bool) -> dict[str, Any]:
    code = parsed.code
    known = code is not None and icd10.is_valid(code)
    shown: dict[str, Any] = {
        "code": code,
        "display": icd10.display(code) if code is not None else None,
        "description": icd10.description(code) if code is not None and known else None,
        "faults": [str(fault) for fault in parsed.faults],
    }
    return shown | ({"trace": parsed.trace} if with_traces else {})
