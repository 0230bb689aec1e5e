"""The results of evaluated runs: from their folders, the folders of fetched results, or their stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd import atomic
from deepicd.artifacts.layout import ATTEMPTS, LATEST
from deepicd.errors import UserError
from deepicd.run_layout import EvaluationLayout, RunLayout

if TYPE_CHECKING:
    from deepicd.evaluation.comparable import Scored
    from deepicd.evaluation.predictions import Prediction
    from deepicd.evaluation.report import Report


@dataclass(frozen=True)
class Places:
    """Where runs are that are no folders: see the options of `deepicd compare`."""

    store: str | None
    spec: Path | None
    endpoint_url: str | None
    namespace: str | None


@dataclass(frozen=True)
class EvaluatedRun:
    """One run."""

    predictions: dict[str, list[Prediction]]
    """By model."""
    report: Report | None
    """What it recorded about itself; None if that was not asked for, or only the predictions are there."""
    scored: Scored
    """What its rewards mean."""


def read_run(run: str, name: str, scratch: Path, places: Places, *, whole: bool) -> EvaluatedRun:
    """Read the results of a run.

    Args:
        run: its folder, that of its fetched results, its address or its name.
        name: what messages call it.
        scratch: an empty folder for what is read from a store.
        places: where it is, if it is no folder.
        whole: whether to read more than the predictions.

    Raises:
        UserError: there is no such run, or it is not evaluated.
        StoreError: see `Store`.
    """
    from deepicd.evaluation import comparable, predictions

    place = _folder(run) or _fetched(run, scratch, places, whole=whole)
    known = predictions.read(place.predictions)
    scored = comparable.of_results(name, place.about, known)
    if not whole or not place.about.is_file():
        return EvaluatedRun(known, None, scored)
    from deepicd.evaluation import report  # its libraries would slow other commands

    return EvaluatedRun(known, report.load_results(place), scored)


def _folder(run: str) -> EvaluationLayout | None:
    for place in (RunLayout(Path(run)).evaluation, EvaluationLayout(Path(run))):
        if place.predictions.is_file():
            return place
    if RunLayout(Path(run)).spec.is_file():
        raise UserError(f"{run}: is not evaluated yet: run `deepicd evaluate` first")
    return None


def _refuse_other_folder(run: str, places: Places) -> None:
    """Refuse a folder that is no stored run, before all of it is listed: that could take hours.

    A stored run has its attempts in its folder, or below that in a folder of its uid.
    """
    if places.spec is not None or "://" in f"{places.store}{run}":
        return
    folder = Path(places.store or "", run)
    if folder.is_dir() and not any(
        (place / mark).exists() for place in (folder, *folder.glob("*/")) for mark in (ATTEMPTS, LATEST)
    ):
        raise UserError(f"{folder}: is no run: give the folder of a run, or that of its fetched results")


def _fetched(run: str, scratch: Path, places: Places, *, whole: bool) -> EvaluationLayout:
    from deepicd.artifacts.fetch import Wanted, keys
    from deepicd.cli.named_runs import named_run

    _refuse_other_folder(run, places)
    try:
        store = named_run(run, places.store, places.spec, places.endpoint_url, places.namespace)
    except UserError as error:
        if Path(run).exists() or "://" in run or places.store is not None or places.spec is not None:
            raise
        raise UserError(f"{run}: is neither a folder nor a run on the cluster ({error}): give the folder of a run") from None
    place = EvaluationLayout(scratch)
    files = [place.predictions, place.about, *(_records(place) if whole else ())]
    stored = keys(store, Wanted("evaluation"))
    for file in files:
        key = next((key for key in stored if key.endswith(f"/{file.name}")), None)
        content = None if key is None else store.read(key)
        if content is not None:
            atomic.write(file, content[0])
        elif file == place.predictions:
            raise UserError(f"{store.url}: has no {file.name}: see 'deepicd artifacts ls'")
    return place


def _records(place: EvaluationLayout) -> Sequence[Path]:
    return place.metrics, place.curves, place.comparisons, place.classes
