"""Which runs the arguments of `deepicd artifacts` name, and the store of each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd.errors import UserError

if TYPE_CHECKING:
    from deepicd.artifacts.store.base import Store


def named_runs(
    runs: list[str] | None, store: str | None, spec: Path | None, endpoint_url: str | None, namespace: str | None
) -> Iterator[tuple[str, Store]]:
    """Each requested run, with a store rooted at it."""
    from deepicd.artifacts.identity import run_path
    from deepicd.artifacts.listing import roots
    from deepicd.artifacts.store import open_store, store_url
    from deepicd.spec.load import load

    run = None if spec is None else load(spec)
    storage = None if run is None else run.spec.storage
    base = store or (None if storage is None else store_url(storage))
    if base is None and not runs:
        raise UserError("RUN: give the address of a run, or --store, or --spec with a run.yaml that has spec.storage")
    named = runs or ([run_path(run)] if run is not None else [""])
    for name in named:
        if base is None and spec is None and _is_name(name):
            yield name, _of_cluster(name, namespace, endpoint_url)
            continue
        address = name if base is None or "://" in name else f"{base.rstrip('/')}/{name}".rstrip("/")
        if "://" not in address:
            address = str(Path(address).absolute())
        outer = open_store(address, storage=storage, endpoint_url=endpoint_url)
        found = roots(outer.list())
        if not found:
            raise UserError(f"{address}: has no run: give another RUN or --store")
        for root in found:
            place = f"{address}/{root}" if root else address
            yield f"{name}/{root}".strip("/") or place, open_store(place, storage=storage, endpoint_url=endpoint_url)


def _is_name(text: str) -> bool:
    return "://" not in text and "/" not in text and not Path(text).exists()


def _of_cluster(name: str, namespace: str | None, endpoint_url: str | None) -> Store:
    """The store of a run on the cluster, rooted at it."""
    from deepicd.artifacts.store import open_store, store_url
    from deepicd.kubernetes.api import Api

    run, uid = Api(namespace).spec_of(name)
    if run.spec.storage is None:
        raise UserError(f"run {name}: has no spec.storage: its results are gone with its pod")
    return open_store(f"{store_url(run.spec.storage)}/{name}/{uid}", storage=run.spec.storage, endpoint_url=endpoint_url)


def named_run(run: str | None, store: str | None, spec: Path | None, endpoint_url: str | None, namespace: str | None) -> Store:
    """The store of the one run that is meant. Raises: UserError: there are several."""
    found = list(named_runs([run] if run else None, store, spec, endpoint_url, namespace))
    if len(found) > 1:
        shown = ", ".join(each.url for _, each in found[:5])
        raise UserError(f"RUN: there are {len(found)} runs: give one of {shown}{', …' if len(found) > 5 else ''}")
    return found[0][1]
