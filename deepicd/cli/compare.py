"""`deepicd compare`: the models of several runs in one table, with paired differences."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepicd.cli.evaluated_runs import EvaluatedRun, Places, read_run
from deepicd.errors import UserError

if TYPE_CHECKING:
    from deepicd.evaluation.comparisons import Comparisons
    from deepicd.evaluation.metrics_schema import Metrics


class Measured(StrEnum):
    """The measure whose differences are printed."""

    CHAPTER_F1 = "chapter.macroF1"
    CATEGORY_F1 = "category.macroF1"
    CODE_F1 = "code.macroF1"
    CHAPTER_ACCURACY = "chapter.accuracy"
    CATEGORY_ACCURACY = "category.accuracy"
    CODE_ACCURACY = "code.accuracy"
    FORMAT = "format"
    VALID = "validCode"
    REWARD = "reward"


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN",
            help="An evaluated run: its folder, its address in a store (s3://BUCKET/PREFIX/RUN), or its name with --store or "
            "--spec or on the cluster. Several need a common test split.",
            show_default=False,
        ),
    ],
    measure: Annotated[
        Measured,
        typer.Option(metavar="MEASURE", help=f"Measure of the printed differences: {', '.join(Measured)}."),
    ] = Measured.CATEGORY_F1,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Only models with this name, such as grpo; may be repeated.", show_default="all"),
    ] = None,
    bootstrap: Annotated[
        int,
        typer.Option(
            min=0,
            help="Bootstrap samples of patients for intervals and p-values; more if there are many models; 0 turns both off.",
        ),
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of these samples.")] = 0,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            metavar="STORE",
            help="Store with RUN: s3://BUCKET/PREFIX, or a folder with runs.",
            show_default=False,
        ),
    ] = None,
    spec: Annotated[Path | None, typer.Option("--spec", metavar="FILE", help="run.yaml that names the store with RUN.")] = None,
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", metavar="URL", help="Address of the S3 store.", show_default="AWS")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Namespace of runs on the cluster.", show_default="the kubeconfig's"
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="FILE", help="Also write the comparison with all measures as one HTML page.", show_default=False
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print metrics and all differences as JSON.")] = False,
) -> None:
    """Compare the models of evaluated runs on the admissions that all of them answered.

    Prints the metrics of each model, then the difference of each two models on the same patients, with a 95 % interval and a
    p-value after Holm's correction for the number of pairs.

    Example: `deepicd compare runs/seed-0 runs/seed-1 --html seeds.html`
    """
    from deepicd.evaluation import comparable, metrics
    from deepicd.evaluation.comparisons import compare_all, on_common_admissions

    places = Places(store, spec, endpoint_url, namespace)
    names = _names(list(dict.fromkeys(run.rstrip("/") or run for run in runs)))
    with tempfile.TemporaryDirectory(prefix="deepicd-compare-") as scratch:
        found = {
            name: read_run(run, name, Path(scratch) / str(number), places, whole=html is not None)
            for number, (run, name) in enumerate(names.items())
        }
    models = _named(found, model or ())
    common = on_common_admissions({name: run.predictions[own] for name, (run, own) in models.items()})
    dropped = {name: len(run.predictions[own]) - len(common[name]) for name, (run, own) in models.items()}
    measured = {
        name: metrics.compute(records, bootstrap_samples=bootstrap, seed=seed, reward_name=models[name][0].scored.reward_name)
        for name, records in common.items()
    }
    differences = compare_all(
        common,
        bootstrap_samples=bootstrap,
        seed=seed,
        incomparable=lambda first, second: comparable.absent(models[first][0].scored, models[second][0].scored),
    )
    reasons = comparable.reasons([run.scored for run in found.values()])
    if html is not None:
        from deepicd.evaluation.report.compared import Compared, Run, write_page

        about = [Run(name, own.report) for name, own in found.items()]
        try:
            write_page(Compared(about, common, measured, differences, dropped, measure.value, reasons), html)
        except OSError as error:
            raise UserError(f"--html: {html} cannot be written ({error.strerror}): give another file") from None
        typer.echo(f"wrote {html}", err=True)
    if as_json:
        typer.echo(json.dumps({"models": measured, "dropped": dropped, "comparisons": differences}, indent=2))
    else:
        _print(measured, dropped, differences, measure, reasons)


def _names(runs: Sequence[str]) -> dict[str, str]:
    """A name for each run: the last part of its folder or address, or all of it where two would be alike."""
    short = {run: Path(run).name or Path(run).resolve().name for run in runs}
    return short if len(set(short.values())) == len(runs) else {run: run for run in runs}


def _named(found: Mapping[str, EvaluatedRun], wanted: Sequence[str]) -> dict[str, tuple[EvaluatedRun, str]]:
    """Run and own name of each wanted model, by its name here: its own if there is one run, else `RUN/MODEL`."""
    named = {
        f"{name}/{model}" if len(found) > 1 else model: (run, model)
        for name, run in found.items()
        for model in run.predictions
        if not wanted or model in wanted
    }
    if not named:
        known = sorted({model for run in found.values() for model in run.predictions})
        raise UserError(f"--model: no run has {', '.join(wanted)}: the models are {', '.join(known)}")
    return named


def _print(
    measured: Mapping[str, Metrics],
    dropped: Mapping[str, int],
    differences: Comparisons,
    measure: Measured,
    reasons: Mapping[str, Sequence[str]],
) -> None:
    from rich.console import Console
    from rich.table import Table

    from deepicd.evaluation import comparable

    console = Console(highlight=False)
    title = f"{differences['admissions']:,} admissions of {differences['patients']:,} patients (macro F1 and rates in %)"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    table.add_column("MODEL", overflow="fold")  # the only one that may be narrower than its content: no number is cut
    for column in ("CHAPTER", "CATEGORY", "CODE", "ACCURACY", "FORMAT", "VALID", "REWARD"):
        table.add_column(column, justify="right", no_wrap=True)
    for name, own in measured.items():
        rates = (own["levels"]["code"]["accuracy"], own["rates"]["format"], own["rates"]["validCode"])
        reward = own["reward"]["mean"]["value"]
        table.add_row(
            name,
            *(_number(level["macroF1"]["value"], 100, 1) for level in own["levels"].values()),
            *(_number(rate["value"], 100, 1) for rate in rates),
            _number(reward, 1, 3),
        )
    console.print(table)
    for name, number in dropped.items():
        if number:
            console.print(f"{name}: {number:,} admissions left out, which another model did not answer")
    for name, why in reasons.items():
        console.print(f"{name}: {comparable.summary(why)}", soft_wrap=True)
    if differences["pairs"]:
        console.print(f"\nDifferences in {measure.value}, paired by patient{_chance(measured, differences)}", soft_wrap=True)
    scale, digits = (1, 3) if measure is Measured.REWARD else (100, 1)
    for pair in differences["pairs"]:
        console.print(f"{pair['second']} - {pair['first']}: {_difference(pair, measure.value, scale, digits)}", soft_wrap=True)


def _chance(measured: Mapping[str, Metrics], differences: Comparisons) -> str:
    """What the heading says about intervals and p-values."""
    if differences["bootstrap"]["samples"]:
        return ", with 95 % intervals; p after Holm's correction"
    reason = next(iter(measured.values()))["absent"].get("interval", "--bootstrap is 0")
    return f"; no intervals and no p-values: {reason}"


def _difference(pair: Any, measure: str, scale: float, digits: int) -> str:
    found = pair["differences"].get(measure)
    if found is None:
        return f"none ({pair['absent'][measure]})"
    text = _signed(found["value"], scale, digits)
    if found["interval"] is None:
        return text
    low, high = (_signed(end, scale, digits) for end in found["interval"])
    mark = "significant" if found["significant"] else "not significant"
    return f"{text} [{low}, {high}], p {found['pHolm']:.3f}, {mark}"


def _signed(value: float, scale: float, digits: int) -> str:
    return f"{round(scale * value, digits) + 0:+.{digits}f}"  # adding 0 makes -0.0 to 0.0


def _number(value: float | None, scale: float, digits: int) -> str:
    return "" if value is None else f"{scale * value:.{digits}f}"
