"""The reward of the released DeepICD-R1 models, without its judge: a baseline that keeps its faults.

    text  = "<think>" + completion, or the completion alone if the prompt did not end in an opened <think>
    pairs = every match, at the start of a line after optional white space, of an optional <think>A</think>, optional
            white space and <diagnosis>B</diagnosis>, where A has no think tag and B no diagnosis tag
    Only the first pair is scored. B is stripped of surrounding white space, then of dots; its case stays.

    code          -1 if there is no pair, or B fails ^[A-Z][0-9]{2}[A-Z0-9]{0,4}$, or B and gold share no prefix
                  15 · |gold| if B = gold
                  15 · (o / |gold| + (o - 2 if o ≥ 3 else 0)) with o the length of their common prefix otherwise
    trace         1 if there is a pair and A is not empty (white space counts as content), else 0
    several       -1 for each further pair
    empty         -5 if the completion is empty
    reward        the sum of the four

Known faults, which the preset `deepicd` does not have: the scale grows with the code's length; a non-existent extension of
the right code earns almost full reward; the first letter stands for the chapter; 405 valid codes fail the pattern; lower case
is refused.

The released regular expression backtracks. This module finds the tags once, from left to right, in linear time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from deepicd.rewards.sample import Score

CODE = re.compile(r"[A-Z][0-9]{2}[A-Z0-9]{0,4}")
_TAG = re.compile(r"<(/?)(think|diagnosis)>")


class Pair(NamedTuple):
    """One match: the trace A (None where the optional part is absent) and the answer B, both as written."""

    trace: str | None
    answer: str


def deepicd_r1(completion: str, gold: str, *, opened_think: bool = True) -> Score:
    """Score one completion by the released formula, without its judge.

    Args:
        completion: the model's output.
        gold: the right code, without its dot; not empty.
        opened_think: whether the prompt ended in an opened `<think>`, as the released model's does.
    """
    found = list(pairs("<think>" + completion if opened_think else completion))
    terms = {
        "code": _code(found[0].answer.strip().replace(".", ""), gold) if found else -1.0,
        "trace": 1.0 if found and found[0].trace else 0.0,
        "several": float(1 - len(found)) if found else 0.0,
        "empty": 0.0 if completion else -5.0,
    }
    return Score(sum(terms.values()), terms)


def _code(answer: str, gold: str) -> float:
    if CODE.fullmatch(answer) is None:
        return -1.0
    if answer == gold:
        return 15.0 * len(gold)
    common = next(
        (place for place, (a, b) in enumerate(zip(answer, gold, strict=False)) if a != b), min(len(answer), len(gold))
    )
    if common == 0:
        return -1.0
    return 15 * (common / len(gold) + (common - 2 if common >= 3 else 0))


def pairs(text: str) -> Iterator[Pair]:
    """Every match of the released pattern in a text, first to last."""
    tags = [(match[0], match.start(), match.end()) for match in _TAG.finditer(text)]
    next_think, next_diagnosis = _next_of_kind(tags, "think>"), _next_of_kind(tags, "diagnosis>")
    index = 0
    while index < len(tags):
        opening, trace = index, None
        index += 1
        if not _starts_line(text, tags, opening):
            continue
        if tags[opening][0] == "<think>":
            closing = next_think[opening]
            if closing is None or tags[closing][0] != "</think>" or closing + 1 == len(tags):
                continue
            trace = text[tags[opening][2] : tags[closing][1]]
            opening = closing + 1
            if text[tags[closing][2] : tags[opening][1]].strip():
                continue
        if tags[opening][0] != "<diagnosis>":
            continue
        closing = next_diagnosis[opening]
        if closing is not None and tags[closing][0] == "</diagnosis>":
            yield Pair(trace, text[tags[opening][2] : tags[closing][1]])
            index = closing + 1


def _starts_line(text: str, tags: list[tuple[str, int, int]], index: int) -> bool:
    """Whether only white space is between the start of a line and a tag. Looks back no further than the tag before."""
    start = tags[index - 1][2] if index else 0
    gap = text[start : tags[index][1]]
    line_start = gap.rfind("\n") + 1
    return (line_start > 0 or start == 0) and not gap[line_start:].strip()


def _next_of_kind(tags: list[tuple[str, int, int]], kind: str) -> list[int | None]:
    """For each tag, the index of the next opening or closing tag of a kind."""
    following: list[int | None] = [None] * len(tags)
    nearest: int | None = None
    for index in range(len(tags) - 1, -1, -1):
        following[index] = nearest
        if tags[index][0].endswith(kind):
            nearest = index
    return following
