"""List what a store holds of one or more runs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from deepicd.artifacts import latest
from deepicd.artifacts.latest import Latest
from deepicd.artifacts.layout import Committed, evaluation_metrics_key, parse_attempt, parse_committed, report_key
from deepicd.artifacts.manifest import Manifest
from deepicd.artifacts.retention import committed, read_manifests
from deepicd.artifacts.store.base import DamagedError, Store, StoredObject

_IN_RUN = re.compile(r"(?:(.*?)/)?(?:attempts/[1-9][0-9]*/|latest\.json$)", re.S)


@dataclass(frozen=True)
class Run:
    """One run in its store."""

    root: str
    """Path below the store, without leading or trailing slash; empty if the store is the run's root."""
    objects: tuple[StoredObject, ...]
    """All its objects; keys are relative to its root."""
    manifests: Mapping[Committed, Manifest | None]
    """Checkpoints and models, oldest first; None for a manifest that cannot be read."""
    latest: Latest | None
    results: Mapping[int, Mapping[str, float | None]]
    """Macro F1 of full codes of each evaluated model, by attempt."""

    @property
    def attempts(self) -> list[int]:
        """Its attempt numbers, ascending."""
        return sorted({number for item in self.objects if (number := parse_attempt(item.key)) is not None})

    @property
    def size(self) -> int:
        """Bytes of all objects."""
        return sum(item.size for item in self.objects)

    @property
    def uncommitted(self) -> dict[Committed, int]:
        """Bytes of each checkpoint or model without a manifest: an upload in progress, or the remains of one."""
        bytes_of: dict[Committed, int] = {}
        for item in self.objects:
            found = parse_committed(item.key)
            if found is not None and found[0] not in self.manifests:
                bytes_of[found[0]] = bytes_of.get(found[0], 0) + item.size
        return bytes_of

    @property
    def reports(self) -> list[str]:
        """Keys of its reports."""
        wanted = {report_key(attempt) for attempt in self.attempts}
        return [item.key for item in self.objects if item.key in wanted]


def roots(objects: Iterable[StoredObject]) -> list[str]:
    """The roots of the runs in a listing."""
    return sorted({match[1] or "" for item in objects if (match := _IN_RUN.match(item.key))})


def survey(store: Store, root: str = "") -> Run:
    """List one run; `store` is rooted at it, and `root` is the name to show.

    Raises:
        UserError, StoreError: see `Store`.
    """
    objects = tuple(store.list())
    found = read_manifests(store, committed(objects))
    manifests = {ref: found[ref] for ref in sorted(found, key=_age)}
    try:
        current = latest.read(store)
    except DamagedError:
        current = None
    keys = {item.key for item in objects}
    run = Run(root, objects, manifests, current, {})
    results = {attempt: _macro_f1(store, key) for attempt in run.attempts if (key := evaluation_metrics_key(attempt)) in keys}
    return Run(root, objects, manifests, current, results)


def to_json(run: Run, url: str) -> dict[str, Any]:
    """A run as `deepicd artifacts ls --json` prints it."""
    return {
        "url": url,
        "bytes": run.size,
        "latest": None if run.latest is None else run.latest.ref.folder,
        "attempts": run.attempts,
        "committed": [
            {"folder": ref.folder, "damaged": True}
            if made is None
            else {
                "folder": ref.folder, "kind": made.kind, "run": made.run, "attempt": made.attempt, "stage": made.stage,
                "step": made.step, "bytes": made.size, "files": len(made.files), "metrics": made.metrics,
                "created": made.created.isoformat(), "versions": made.versions, "damaged": False,
            }
            for ref, made in run.manifests.items()
        ],
        "uncommittedBytes": sum(run.uncommitted.values()),
        "macroF1": {str(attempt): dict(values) for attempt, values in run.results.items()},
        "reports": run.reports,
    }  # fmt: skip


def _age(ref: Committed) -> tuple[int, str, int]:
    return ref.attempt, ref.folder.rpartition("/")[0], getattr(ref, "step", 0)


def _macro_f1(store: Store, key: str) -> dict[str, float | None]:
    found = store.read(key)
    try:
        models = json.loads(found[0]) if found else {}
        return {name: measured["levels"]["code"]["macroF1"]["value"] for name, measured in models.items()}
    except (ValueError, TypeError, KeyError, AttributeError):
        return {}  # it is being replaced, or another version wrote it
