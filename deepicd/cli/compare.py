"""`deepicd compare`: the models of several runs in one table, with paired differences."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deepicd.errors import UserError
from deepicd.run_layout import EvaluationLayout, RunLayout

if TYPE_CHECKING:
    from deepicd.evaluation.comparisons import Comparisons
    from deepicd.evaluation.metrics_schema import Metrics
    from deepicd.evaluation.predictions import Prediction


class Compared(StrEnum):
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
            help="Folder of an evaluated run, its address in a store (s3://BUCKET/PREFIX/RUN), or its name with --store or "
            "on the cluster.",
            show_default=False,
        ),
    ],
    measure: Annotated[
        Compared,
        typer.Option(metavar="MEASURE", help=f"Measure whose differences are printed: {', '.join(Compared)}."),
    ] = Compared.CATEGORY_F1,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only models of this name; may be repeated.", show_default="all")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, help="Samples of patients for the 95% intervals; 0 leaves the intervals out.")
    ] = 1000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the samples.")] = 0,
    store: Annotated[
        str | None,
        typer.Option("--store", metavar="STORE", help="s3://BUCKET/PREFIX or a folder that holds runs.", show_default=False),
    ] = None,
    spec: Annotated[Path | None, typer.Option("--spec", metavar="FILE", help="run.yaml with the storage.")] = None,
    endpoint_url: Annotated[
        str | None, typer.Option("--endpoint-url", metavar="URL", help="Address of the S3 store.", show_default="AWS")
    ] = None,
    namespace: Annotated[
        str | None,
        typer.Option(
            "--namespace", "-n", metavar="NAME", help="Namespace of runs on the cluster.", show_default="the kubeconfig's"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare the models of runs on the admissions that all of them answered.

    Prints the metrics of each model, and the paired difference of each two models with its 95 % interval and its p-value after
    Holm's correction.

    Example: `deepicd compare runs/seed-0 runs/seed-1`
    """
    from deepicd.evaluation import metrics, predictions
    from deepicd.evaluation.comparisons import compare_all, on_common_admissions

    found, rewards = {}, {}
    for run in dict.fromkeys(runs):
        with tempfile.TemporaryDirectory(prefix="deepicd-compare-") as scratch:
            place = _results(run, Path(scratch), store, spec, endpoint_url, namespace)
            found[run], rewards[run] = predictions.read(place.predictions), _reward(place)
    chosen = _named(found, model or ())
    common = on_common_admissions(chosen)
    dropped = {name: len(records) - len(common[name]) for name, records in chosen.items()}
    measured = {name: metrics.compute(records, bootstrap_samples=bootstrap, seed=seed) for name, records in common.items()}
    differences = compare_all(common, bootstrap_samples=bootstrap, seed=seed)
    if any(reward != rewards[runs[0]] for reward in rewards.values()):
        _drop_rewards(differences)
    if as_json:
        typer.echo(json.dumps({"models": measured, "dropped": dropped, "comparisons": differences}, indent=2))
    else:
        _print(measured, dropped, differences, measure)


def _results(
    run: str, scratch: Path, store: str | None, spec: Path | None, endpoint_url: str | None, namespace: str | None
) -> EvaluationLayout:
    """The results of a run: in its folder, in the folder of its fetched results, or fetched from its store into `scratch`."""
    for place in (RunLayout(Path(run)).evaluation, EvaluationLayout(Path(run))):
        if place.predictions.is_file():
            return place
    if RunLayout(Path(run)).spec.is_file():
        raise UserError(f"{run}: is not evaluated yet: run `deepicd evaluate` first")
    from deepicd.artifacts.fetch import Wanted, keys
    from deepicd.cli.named_runs import named_run

    try:
        source = named_run(run, store, spec, endpoint_url, namespace)
    except UserError as error:
        if Path(run).exists() or "://" in run or store is not None or spec is not None:
            raise
        raise UserError(f"{run}: is no folder here, and no run of a cluster ({error}): give the folder of a run") from None
    place = EvaluationLayout(scratch)
    stored = {key.rpartition("/")[2]: key for key in keys(source, Wanted("evaluation"))}
    for path in (place.predictions, place.about):
        content = source.read(stored[path.name]) if path.name in stored else None
        if content is not None:
            path.write_bytes(content[0])
    if not place.predictions.exists():
        raise UserError(f"{source.url}: has no {place.predictions.name}: see 'deepicd artifacts ls'")
    return place


def _reward(place: EvaluationLayout) -> Any:
    """The settings of the run's reward, with every default of this version; None if its results do not say them."""
    import yaml

    from deepicd.evaluation.result_files import read_object
    from deepicd.spec.load import parse

    if not place.about.is_file():
        return None
    settings = yaml.safe_load(read_object(place.about, ("settings",))["settings"])
    try:
        return parse(settings, str(place.about)).spec.reward.model_dump()
    except UserError:  # of a version with other fields
        return settings.get("spec", {}).get("reward") if isinstance(settings, dict) else None


def _drop_rewards(found: Comparisons) -> None:
    """Take out the differences of rewards, which are numbers of different scales if the runs' rewards are not the same."""
    for pair in found["pairs"]:
        if pair["differences"].pop(Compared.REWARD, None) is not None:
            pair.setdefault("absent", {})[Compared.REWARD] = "the runs have different rewards (spec.reward)"


def _named(found: Mapping[str, Mapping[str, list[Prediction]]], wanted: Sequence[str]) -> dict[str, list[Prediction]]:
    """The wanted models: by their name if there is one run, else `RUN/MODEL`."""
    named: dict[str, list[Prediction]] = {}
    for run, models in found.items():
        prefix = f"{run.rstrip('/')}/" if len(found) > 1 else ""
        if prefix and len({Path(each).name for each in found}) == len(found):
            prefix = f"{Path(run).name or Path(run).resolve().name}/"
        named |= {f"{prefix}{model}": records for model, records in models.items() if not wanted or model in wanted}
    if not named:
        known = sorted({model for models in found.values() for model in models})
        raise UserError(f"--model: no run has {', '.join(wanted)}: the models are {', '.join(known)}")
    return named


def _print(measured: Mapping[str, Metrics], dropped: Mapping[str, int], differences: Comparisons, measure: Compared) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    title = f"{differences['admissions']:,} admissions of {differences['patients']:,} patients (macro F1 and rates in %)"
    table = Table(box=None, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for column in ("MODEL", "CHAPTER", "CATEGORY", "CODE", "ACCURACY", "FORMAT", "VALID", "REWARD"):
        table.add_column(column, justify="left" if column == "MODEL" else "right", no_wrap=True)
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
    if differences["pairs"]:
        console.print(f"\nDifferences in {measure.value}, paired by patient, with 95 % intervals; p after Holm's correction")
    scale, digits = (1, 3) if measure is Compared.REWARD else (100, 1)
    for pair in differences["pairs"]:
        console.print(f"{pair['second']} - {pair['first']}: {_difference(pair, measure.value, scale, digits)}", soft_wrap=True)


def _difference(pair: Any, measure: str, scale: float, digits: int) -> str:
    found = pair["differences"].get(measure)
    if found is None:
        return f"none ({pair['absent'][measure]})"
    text = f"{scale * found['value']:+.{digits}f}"
    if found["interval"] is None:
        return text
    low, high = (f"{scale * end:+.{digits}f}" for end in found["interval"])
    mark = "significant" if found["significant"] else "not significant"
    return f"{text} [{low}, {high}], p {found['pHolm']:.3f}, {mark}"


def _number(value: float | None, scale: float, digits: int) -> str:
    return "" if value is None else f"{scale * value:.{digits}f}"
