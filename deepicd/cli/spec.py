"""`deepicd validate`, `schema`, `show-config`: run.yaml itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from deepicd.errors import UserError
from deepicd.spec import load as spec
from deepicd.spec.run import DeepICDRun
from deepicd.training.footprint import Footprint, footprint, shown, to_json
from deepicd.training.model_shape import shape_at, shape_of

SpecFile = Annotated[Path, typer.Argument(metavar="FILE", help="The run.yaml.", show_default=False)]

_NO_ESTIMATE = (
    "no estimate of memory and disk: the model's config.json is not on this machine, or it is not a plain decoder like "
    "Llama and Qwen (a model with experts is not)"
)
_ELSEWHERE = "if the paths are on a cluster, --no-paths skips this check"


def validate(
    file: SpecFile,
    paths: Annotated[bool, typer.Option(help="Check the files that it names; turn off for a cluster's paths.")] = True,
    verl: Annotated[bool, typer.Option(help="Also check the verl overrides (takes seconds).")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON: name, problems, warnings, estimate.")] = False,
) -> None:
    """Check a run.yaml: every field, the files it names and their first lines, the model, the reward's own terms, overrides.

    Exits with 64 if the run cannot succeed. `deepicd run` makes the same checks at its start. Then estimates the memory and
    disk space that the run takes, if the model's configuration is on this machine.

    Example: `deepicd validate manifests/samples/quickstart.yaml`
    """
    from deepicd.run.inputs import look

    name, problems, warnings, found_in_files, needs = None, [], [], False, None
    lines: list[str] = []
    try:
        run = spec.load(file)
    except UserError as error:
        problems = list(error.problems)
    else:
        found = look(run, paths=paths, verl=verl)
        name, warnings, found_in_files = run.metadata.name, found.warnings, found.in_files
        problems = [f"{file}: {problem}" for problem in found.problems]
        if not problems:
            needs, lines = _estimate(run)
    if as_json:
        estimate = None if needs is None else to_json(needs)
        typer.echo(json.dumps({"name": name, "problems": problems, "warnings": warnings, "estimate": estimate}, indent=2))
    for warning in warnings:
        typer.echo(f"warning: {warning}", err=True)
    if problems:
        if found_in_files:
            typer.echo(f"note: {_ELSEWHERE}", err=True)
        raise UserError(*problems)
    if not as_json:
        typer.echo("\n".join([f"{file}: is a valid DeepICDRun '{name}'", *lines]))


def _estimate(run: DeepICDRun) -> tuple[Footprint | None, list[str]]:
    """What the run takes, and the lines that say so."""
    shape, stages, judge = shape_of(run.spec.model), run.spec.stages, run.spec.reward.judge
    if shape is None:
        return None, [_NO_ESTIMATE] if stages.sft or stages.grpo else []
    needs = footprint(run.spec, shape, None if judge is None or judge.model is None else shape_at(judge.model))
    return needs, shown(needs)


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
