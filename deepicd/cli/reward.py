"""`deepicd reward`."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepicd.cli.lines import ON_ERROR_HELP, OnError, Skipped
from deepicd.errors import UserError
from deepicd.rewards import cohort_words
from deepicd.rewards.lines import score_lines
from deepicd.spec.load import load
from deepicd.spec.reward import PresetName, RewardSpec

if TYPE_CHECKING:
    from deepicd.rewards.judge.judging import Judging


def reward(
    preset: Annotated[
        PresetName | None, typer.Option(help="Score with a preset, with or without the opening `<think>`.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Score with the reward and the prompt of this run.yaml.")
    ] = None,
    words: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Weigh words as a run did, by its stages/prepare/words.json. Default: as in most notes."
        ),
    ] = None,
    on_error: Annotated[OnError, typer.Option(help=ON_ERROR_HELP)] = OnError.STOP,
) -> None:
    """Score completions, JSON lines in and out.

    Takes {"id", "completion", "gold"}, and "note" to have the reasoning scored (without it that term is 0);
    gives {"id", "score", "terms"}, with null for a missing term; "score_without_judge" instead of "score" if
    the reward's judge is not available. Ids are passed on and may repeat, for several completions of one note. Gold
    is a code that was billable in any fiscal year from 2016 to 2026 or, with "local_gold": true, a code of your own.

    Example: deepicd reward --preset deepicd-r1 < in.jsonl > out.jsonl
    """
    if preset is not None and spec is None:
        terms, opened_think = RewardSpec(preset=preset), None
    elif spec is not None and preset is None:
        run = load(spec).spec
        terms, opened_think = run.reward, run.model.opened_think
    else:
        raise UserError("give exactly one of --preset and --spec, such as: deepicd reward --preset deepicd < in.jsonl")
    cohort = None if words is None else cohort_words.read(words)
    with Skipped(on_error) as skipped, _judging(terms, opened_think=opened_think is not False) as judging:
        for line in score_lines(
            sys.stdin.buffer, terms, opened_think=opened_think, cohort=cohort, on_fault=skipped.on_fault, judging=judging
        ):
            sys.stdout.write(line + "\n")
        if judging is not None and judging.failure is not None:
            sys.stderr.write(f"{judging.failure}: scores from there on are score_without_judge\n")


def _judging(terms: RewardSpec, *, opened_think: bool) -> AbstractContextManager[Judging | None]:
    if terms.judge is None:
        return nullcontext()
    from deepicd.rewards.judge.judging import Judging

    return Judging(terms, None, opened_think=opened_think)
