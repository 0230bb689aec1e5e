"""`deepicd validate`, `schema`, `show-config`: run.yaml itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deepicd.errors import UserError
from deepicd.spec import load as spec

SpecFile = Annotated[Path, typer.Argument(metavar="RUN.YAML", help="The run's file.", show_default=False)]


def validate(
    file: SpecFile, verl: Annotated[bool, typer.Option(help="Check the verl overrides too (takes seconds).")] = True
) -> None:
    """Check a run.yaml: every field, the reward's own terms by importing them, its judge's rubric, and the overrides against
    verl's configuration.

    Example: `deepicd validate manifests/samples/quickstart.yaml`
    """
    run = spec.load(file)
    if run.spec.reward.terms:
        from deepicd.rewards.own_terms import OwnTerms

        OwnTerms(run.spec.reward.terms)
    if run.spec.reward.judge is not None:
        from deepicd.rewards.judge.rubric import load_rubric

        load_rubric(run.spec.reward.judge.rubric)
    if verl:
        from deepicd.training.check import check_overrides

        check_overrides(run)
    typer.echo(f"{file}: is a valid DeepICDRun '{run.metadata.name}'")


def schema() -> None:
    """Print the JSON Schema of run.yaml, for editors.

    Example: `deepicd schema > run.schema.json`
    """
    typer.echo(json.dumps(spec.json_schema(), indent=2))


def show_config(
    file: SpecFile,
    verl: Annotated[
        str | None, typer.Option(metavar="STAGE", help="Show verl's overrides for 'sft' or 'grpo' instead.")
    ] = None,
) -> None:
    """Print a run.yaml with every default filled in, or what a stage passes to verl.

    Example: `deepicd show-config run.yaml --verl grpo`
    """
    run = spec.load(file)
    if verl is None:
        typer.echo(spec.dump(run), nl=False)
        return
    from deepicd.training.check import stage_overrides

    overrides = stage_overrides(run)
    if verl not in overrides:
        raise UserError(f"--verl: '{verl}' is not a training stage of this run: give one of {', '.join(overrides) or 'none'}")
    typer.echo("\n".join(overrides[verl]))
