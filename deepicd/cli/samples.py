"""`deepicd samples`: the completions that GRPO has kept."""

from __future__ import annotations

import json
import pydoc
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from deepicd.completion import TRACE_WARNING
from deepicd.errors import UserError
from deepicd.run_layout import RunLayout, usual_folder
from deepicd.training.step_metrics import OF_COMPLETIONS

if TYPE_CHECKING:
    from deepicd.training.kept_rollouts import KeptRollout


def samples(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Name of a run in runs/, or its folder.", show_default=False)],
    step: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Training step to show.", show_default="the newest")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Show every kept step, from the first.")] = False,
    prompts: Annotated[
        bool, typer.Option("--prompts/--no-prompts", help="Show the prompt, with its note, above the completions drawn for it.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON line for each completion.")] = False,
) -> None:
    """Show completions that GRPO drew while it trained, with their prompts, rewards and terms. They repeat notes.

    A run keeps them only with stages.grpo.keepRollouts. On a terminal they open in a pager, which q closes.

    Example: deepicd samples quickstart --step 10
    """
    from deepicd.training import kept_rollouts

    place = Path(run) if Path(run).is_dir() else usual_folder(run)
    if not place.is_dir():
        raise UserError(f"{place}: no such folder: give the folder of a run, or the name of one in runs/")
    folder = RunLayout(place).stage("grpo").rollouts
    known = kept_rollouts.steps(folder)
    if not known:
        raise UserError(f"{place}: has no completions: set stages.grpo.keepRollouts and run GRPO")
    if step is not None and every:
        raise UserError("--all: is given with --step: leave one of them out")
    if step is not None and step not in known:
        near = min(known, key=lambda other: abs(other - step))
        raise UserError(f"--step: {step} has no completions: the nearest with some is {near}, the newest {known[-1]}")
    chosen = known if every else [step or known[-1]]
    found = (one for each in chosen for one in kept_rollouts.read(folder, each))
    if as_json or not sys.stdout.isatty():
        typer.echo(TRACE_WARNING, err=True)
    if as_json:
        for one in found:
            typer.echo(json.dumps(asdict(one), ensure_ascii=False))
    elif sys.stdout.isatty():
        pydoc.pager("".join([f"{TRACE_WARNING}\n", *_shown(found, prompts=prompts)]))
    else:
        sys.stdout.writelines(_shown(found, prompts=prompts))


def _shown(rollouts: Iterator[KeptRollout], *, prompts: bool) -> Iterator[str]:
    """Each completion under its prompt, which is shown once for its group."""
    group = None
    for one in rollouts:
        if (one.step, one.id) != group:
            group = (one.step, one.id)
            yield f"{'═' * 80}\nstep {one.step}, admission {one.id}, gold {one.gold}\n"
            yield f"{one.prompt}\n" if prompts else ""
        terms = ", ".join(f"{name} {value:.3g}" for name, value in one.terms.items() if name not in OF_COMPLETIONS)
        cut = ", cut off at the limit" if one.terms.get("truncated") else ""
        yield f"{'─' * 80}\ncompletion {one.rollout}: reward {one.reward:.3f} ({terms}), {one.tokens} tokens{cut}\n"
        yield f"{one.completion}\n"
