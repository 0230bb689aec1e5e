"""A structural tag of xgrammar by which vLLM generates freely, and inside the diagnosis tag only codes of the table."""

from __future__ import annotations

import json
from collections.abc import Iterable

from deepicd import icd10

_OPENING, _CLOSING = "<diagnosis>", "</diagnosis>"


def grammar(codes: Iterable[str]) -> str:
    """An EBNF grammar of these codes.

    A code is its category and a rest. Categories with the same rests share a rule: a plain list of all codes takes xgrammar
    many minutes to compile, this a second.
    """
    rests: dict[str, list[str]] = {}
    for code in codes:
        rests.setdefault(code[:3], []).append(code[3:])
    names: dict[tuple[str, ...], str] = {}
    starts = []
    for category, own in sorted(rests.items()):
        key = tuple(sorted(set(own)))
        starts.append(f"{json.dumps(category)} {names.setdefault(key, f'rest{len(names)}')}")
    rules = [f"{name} ::= {' | '.join(map(json.dumps, key))}" for key, name in names.items()]
    return "\n".join(["root ::= " + " | ".join(starts), *rules])


def structural_tag(local: Iterable[str] = ()) -> str:
    """The structural tag as JSON, for vLLM's structured outputs. The completion ends with its first diagnosis.

    Args:
        local: codes that are allowed beside those that were billable in any release.
    """
    codes = [*icd10.billable_codes(), *sorted(set(local))]
    tag = {"begin": _OPENING, "content": {"type": "grammar", "grammar": grammar(codes)}, "end": _CLOSING}
    return json.dumps(
        {
            "type": "structural_tag",
            "format": {"type": "triggered_tags", "triggers": [_OPENING], "tags": [tag], "stop_after_first": True},
        }
    )
