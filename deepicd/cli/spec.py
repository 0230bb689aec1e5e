"""`deepicd validate`, `schema`, `show-config`: run.yaml itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deepicd.errors import UserError
from deepicd.spec import load as spec
from deepicd.training.footprint import footprint, shown
from deepicd.training.model_shape import shape_of

SpecFile = Annotated[Path, typer.Argument(metavar="RUN.YAML", help="The run's file.", show_default=False)]


def validate(
    file: SpecFile, verl: Annotated[bool, typer.Option(help="Check the verl overrides too (takes seconds).")] = True
) -> None:
    """Check a run.yaml: every field, the reward's own terms by importing them, and the overrides against verl's configuration.
    Then estimate the memory and the disk that the run takes, if the model's configuration is on this machine.

    Example: `deepicd validate manifests/samples/quickstart.yaml`
    """
    run = spec.load(file)
    if run.spec.reward.terms:
        from deepicd.rewards.own_terms import OwnTerms

        OwnTerms(run.spec.reward.terms)
    if verl:
        from deepicd.training.check import check_overrides

        check_overrides(run)
    typer.echo(f"{file}: is a valid DeepICDRun '{run.metadata.name}'")
    if (shape := shape_of(run.spec.model)) is not None:
        typer.echo("\n".join(shown(footprint(run.spec, shape))))


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
