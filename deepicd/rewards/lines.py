"""Scores JSON lines: `{"id", "completion", "gold"[, "note", "truncated", "local_gold"]}` to `{"id", "score", "terms"}`.

If the reward's judge is not available, the key is `score_without_judge` instead of `score`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from deepicd.errors import UserError
from deepicd.json_lines import ROUNDED, check_names, is_rounded, read_object
from deepicd.rewards.cohort_words import CohortWords
from deepicd.rewards.judge.rollout import Rollout
from deepicd.rewards.presets import check_gold, make_scorer
from deepicd.rewards.sample import Sample, Score
from deepicd.spec.reward import RewardSpec

if TYPE_CHECKING:
    from deepicd.rewards.judge.judging import Judging

_BATCH = 512
_THINK = "<think>"
_FIELDS = ("id", "completion", "gold", "note", "truncated", "local_gold")
_REQUIRED = "give an object with id, completion, gold and, to have the reasoning scored, note"


def score_lines(
    lines: Iterable[bytes],
    reward: RewardSpec,
    *,
    opened_think: bool | None,
    cohort: CohortWords | None = None,
    on_fault: Callable[[UserError], None] | None = None,
    judging: Judging | None = None,
) -> Iterator[str]:
    """Score line by line, in batches: memory does not grow with the input. Empty lines are skipped.

    Args:
        lines: UTF-8 JSON objects; other fields are ignored.
        reward: preset, weights, and the run's own terms.
        opened_think: whether the prompt ended in an opened `<think>`; None: unknown, so a `<think>` that a completion begins
            with opens its trace, and one that begins otherwise is taken to continue an opened one.
        cohort: words of the training notes; by default, those of most notes.
        on_fault: gets the error of each invalid line, which is then skipped; without it the first error is raised.
        judging: the reward's judge, in its context. Lines of one batch with the same note and gold code are a group.

    Yields:
        One JSON object per line of input, in the same order. A missing term is null.

    Raises:
        UserError: a line is invalid (the message names its number and field, and quotes none of its content), or there is none.
    """
    score = make_scorer(reward, opened_think=opened_think is not False, cohort=cohort)
    read = read_samples(lines, on_fault, as_written=opened_think is None)
    empty = True
    while batch := list(islice(read, _BATCH)):
        empty = False
        samples = [sample for _, sample in batch]
        scores = score(samples)
        judged = None if judging is None else _judged(judging, samples, scores)
        reported_as = "score" if reward.judge is None or judged is not None else "score_without_judge"
        for (identifier, _), scored in zip(batch, judged or scores, strict=True):
            terms = {name: None if math.isnan(value) else value for name, value in scored.terms.items()}
            yield json.dumps({"id": identifier, reported_as: scored.value, "terms": terms})
    if empty:
        raise UserError(f"standard input: has no line to score: {_REQUIRED} on each line")


def _judged(judging: Judging, samples: Sequence[Sample], scores: Sequence[Score]) -> list[Score] | None:
    """The scores with the judge's term, in the same order; None if the judge is not available."""
    groups: dict[tuple[str | None, str], list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault((sample.note, sample.gold), []).append(place)
    found = judging.score([[Rollout(samples[place], scores[place]) for place in places] for places in groups.values()])
    if found is None:
        return None
    places = (place for members in groups.values() for place in members)
    by_place = dict(zip(places, (score for group in found for score in group), strict=True))
    return [by_place[place] for place in range(len(samples))]


def read_samples(
    lines: Iterable[bytes], on_fault: Callable[[UserError], None] | None, *, as_written: bool
) -> Iterator[tuple[str | int, Sample]]:
    """Id and sample of each line that is not empty; see `score_lines`.

    Args:
        lines: see `score_lines`.
        on_fault: see `score_lines`.
        as_written: whether a `<think>` that a completion begins with opens its trace.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            sample = _read(number, line, as_written=as_written)
        except UserError as error:
            if on_fault is None:
                raise
            on_fault(error)
        else:
            yield sample


def _read(number: int, line: bytes, *, as_written: bool) -> tuple[str | int, Sample]:
    fields = read_object(line, f"line {number}", _REQUIRED)
    check_names(fields, _FIELDS, f"line {number}")
    for name in ("id", "completion", "gold"):
        if name not in fields:
            raise UserError(f"line {number}: {name}: is missing: {_REQUIRED}")
    identifier = fields["id"]
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)):
        raise UserError(f"line {number}: id: is {_json_type(identifier)}: give a string or a whole number")
    if is_rounded(identifier):
        raise UserError(f"line {number}: id: {ROUNDED}")
    for name in ("completion", "gold"):
        if not isinstance(fields[name], str):
            raise UserError(f"line {number}: {name}: is {_json_type(fields[name])}: give a string")
    note = fields.get("note")
    if not (note is None or isinstance(note, str)):
        raise UserError(f"line {number}: note: is {_json_type(note)}: give a string, or leave it out")
    truncated, local = (_flag(fields, name, number) for name in ("truncated", "local_gold"))
    try:
        gold = check_gold(fields["gold"], local=local)
    except UserError as error:
        raise UserError(f"line {number}: {error}") from None
    completion: str = fields["completion"]
    if as_written and completion.lstrip().startswith(_THINK):
        completion = completion.lstrip().removeprefix(_THINK)
    return identifier, Sample(completion, gold, note, truncated, local)


def _flag(fields: dict[str, Any], name: str, number: int) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise UserError(f"line {number}: {name}: is {_json_type(value)}: give true or false, or leave it out")
    return value


def _json_type(value: object) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return names.get(type(value), "null")
