"""An xgrammar structural tag with which vLLM generates freely, but only codes of the table inside the diagnosis tag."""

from __future__ import annotations

import json
from collections.abc import Iterable

from deepicd import icd10

_OPENING, _CLOSING = "<diagnosis>", "</diagnosis>"


def grammar(codes: Iterable[str]) -> str:
    """An EBNF grammar of these codes, which consist of letters and digits.

    A rule stands for a set of endings, and is shared by all beginnings with this set: 2,155 rules for the whole table. A plain
    list of all codes takes xgrammar a hundred times as long to compile and to mask each token of a code.
    """
    names: dict[tuple[str, ...], str] = {}
    rules: list[str] = []

    def name_of(endings: tuple[str, ...]) -> str:
        if endings in names:
            return names[endings]
        following: dict[str, list[str]] = {}
        for ending in filter(None, endings):
            following.setdefault(ending[0], []).append(ending[1:])
        characters: dict[str, list[str]] = {}
        for character, rest in following.items():
            characters.setdefault("" if rest == [""] else name_of(tuple(rest)), []).append(character)
        alternatives = ['""'] if "" in endings else []
        alternatives += [f"[{''.join(own)}] {after}".rstrip() for after, own in characters.items()]
        name = names[endings] = f"ending{len(names)}"
        rules.append(f"{name} ::= {' | '.join(alternatives)}")
        return name

    return "\n".join([f"root ::= {name_of(tuple(sorted(set(codes))))}", *rules])


def structural_tag(local: Iterable[str] = ()) -> str:
    """The structural tag as JSON, for vLLM's structured outputs. The completion ends with its first diagnosis.

    Args:
        local: codes that are allowed in addition to those that were billable in any release.
    """
    codes = [*icd10.billable_codes(), *sorted(set(local))]
    tag = {"begin": _OPENING, "content": {"type": "grammar", "grammar": grammar(codes)}, "end": _CLOSING}
    return json.dumps(
        {
            "type": "structural_tag",
            "format": {"type": "triggered_tags", "triggers": [_OPENING], "tags": [tag], "stop_after_first": True},
        }
    )
