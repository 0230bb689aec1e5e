"""`deepicd reward`."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from deepicd.errors import UserError
from deepicd.rewards.lines import score_lines
from deepicd.spec.load import load
from deepicd.spec.reward import RewardSpec


class Preset(StrEnum):
    """The rewards that need no run.yaml."""

    DEEPICD = "deepicd"
    DEEPICD_R1 = "deepicd-r1"


def reward(
    preset: Annotated[Preset | None, typer.Option(help="Score with a preset; prompts ended in an opened <think>.")] = None,
    spec: Annotated[Path | None, typer.Option(help="Score with the reward and the prompt of this run.yaml.")] = None,
) -> None:
    """Score completions, JSON lines in and out.

    Takes {"id", "completion", "gold"}, and "note" to have the reasoning scored (without it that term is 0);
    gives {"id", "score", "terms"}.

    Example: deepicd reward --preset deepicd-r1 < in.jsonl > out.jsonl
    """
    if preset is not None and spec is None:
        terms, opened_think = RewardSpec(preset=preset.value), True
    elif spec is not None and preset is None:
        run = load(spec).spec
        terms, opened_think = run.reward, run.model.opened_think
    else:
        raise UserError("give exactly one of --preset and --spec, such as: deepicd reward --preset deepicd < in.jsonl")
    for line in score_lines(sys.stdin.buffer, terms, opened_think=opened_think):
        sys.stdout.write(line + "\n")
