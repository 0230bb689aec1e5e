"""The objects seen so far, kept small: a run as the bytes of its JSON, everything else as a view."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from deepicd.spec.progress import CHECKPOINT_KEY, PROGRESS_KEY, UPLOAD_KEY, read_progress
from deepicd.spec.resource_names import KIND, RUN_LABEL
from deepicd_operator.kinds import JOB_KINDS
from deepicd_operator.snapshot import JobView, PodView, job_view, owner, pod_view

Raw = Mapping[str, Any]


class Key(NamedTuple):
    """Which run."""

    namespace: str
    name: str


Identity = tuple[Key | None, str]
"""The run that an object concerns, and the object's name."""


@dataclass(frozen=True, slots=True)
class _Versioned:
    version: int
    owner: str | None
    value: Any
    taken: int
    """The cache's count of stored objects after this one."""


@dataclass(slots=True)
class _Family:
    """A run and its children, by kind and name."""

    run: _Versioned | None = None
    children: dict[tuple[str, str], _Versioned] = field(default_factory=dict)


class Cache:
    """The newest known version of every run and of its Jobs, pods and reports."""

    def __init__(self) -> None:
        self._families: dict[Key, _Family] = {}
        self._taken = 0

    @property
    def taken(self) -> int:
        """Count of objects stored so far. A list requested now is newer than all of them."""
        return self._taken

    def put(self, raw: Raw, listed_after: int = 0) -> tuple[Key | None, bool]:
        """Store an object. Returns the run it concerns, and whether it is news. An older version than the known one is ignored.

        `listed_after`: value of `taken` when the list with this object was requested. The list is newer than all objects
        stored until then, even if its versions are lower: the API server's store may have been restored from a backup.

        A report that differs from the known one only in its time is stored, but is not news: it has no consequences.
        """
        key = key_of(raw)
        if key is None:
            return None, False
        family = self._families.setdefault(key, _Family())
        version = version_of(raw)
        known = family.run if raw["kind"] == KIND else family.children.get(_place(raw))
        if known is not None and (version == known.version or (version < known.version and known.taken > listed_after)):
            return key, False
        self._taken += 1
        if raw["kind"] == KIND:
            family.run = _Versioned(version, raw["metadata"]["uid"], _slim(raw), self._taken)
            return key, True
        value = _view(raw)
        family.children[_place(raw)] = _Versioned(version, owner(raw), value, self._taken)
        return key, known is None or raw["kind"] != "ConfigMap" or not _differ_only_in_time(known.value, value)

    def drop(self, raw: Raw) -> Key | None:
        """Forget a deleted object. Returns the run it concerned, or None if a newer object already has its name."""
        key = key_of(raw)
        if key is None or (family := self._families.get(key)) is None:
            return key
        known = family.run if raw["kind"] == KIND else family.children.get(_place(raw))
        if known is not None and known.version > version_of(raw):
            return None
        if raw["kind"] == KIND:
            self.forget(key)
        else:
            family.children.pop(_place(raw), None)
            self._tidy(key, family)
        return key

    def forget(self, key: Key) -> None:
        """Forget a run. Its remaining children stay until their own deletion is seen."""
        if (family := self._families.get(key)) is not None:
            family.run = None
            self._tidy(key, family)

    def _tidy(self, key: Key, family: _Family) -> None:
        if family.run is None and not family.children:
            del self._families[key]

    def drop_child(self, key: Key, kind: str, name: str) -> None:
        """Forget a child that is known to be gone."""
        if (family := self._families.get(key)) is not None:
            family.children.pop((kind, name), None)

    def run(self, key: Key) -> Any:
        """The run's object, or None."""
        family = self._families.get(key)
        return None if family is None or family.run is None else json.loads(family.run.value)

    def runs(self) -> list[Key]:
        """All known runs."""
        return [key for key, family in self._families.items() if family.run is not None]

    def jobs(self, key: Key, uid: str) -> tuple[JobView, ...]:
        """Jobs and RayJobs that belong to the run of that uid."""
        return tuple(each.value for kind, each in self._children(key) if kind in JOB_KINDS and each.owner == uid)

    def pods(self, key: Key, uid: str) -> tuple[PodView, ...]:
        """Pods that belong to a Job of the run of that uid, or to the RayCluster of one of its RayJobs."""
        jobs = self.jobs(key, uid)
        uids, clusters = {job.uid for job in jobs}, {job.cluster for job in jobs if job.cluster}
        return tuple(pod for pod in self._pods(key) if pod.owner in uids or pod.cluster in clusters)

    def orphans(self, key: Key, uid: str) -> tuple[PodView, ...]:
        """Pods of the run of that uid whose Job was deleted without them."""
        return tuple(pod for pod in self._pods(key) if pod.run == uid and not pod.owner and not pod.cluster)

    def _pods(self, key: Key) -> Iterable[PodView]:
        return (each.value for kind, each in self._children(key) if kind == "Pod")

    def reports(self, key: Key, name: str, uid: str) -> Mapping[str, str] | None:
        """Texts of the reports in a ConfigMap, by key; None if the ConfigMap is missing."""
        family = self._families.get(key)
        found = family.children.get(("ConfigMap", name)) if family else None
        return found.value if found is not None and found.owner == uid else None

    def _children(self, key: Key) -> Iterable[tuple[str, _Versioned]]:
        family = self._families.get(key)
        return [] if family is None else [(kind, each) for (kind, _), each in family.children.items()]

    def keep_only(
        self, kind: str, present: Container[Identity], listed_after: int, namespaces: Iterable[str] = ()
    ) -> list[Key]:
        """Forget objects of a kind that are not in a full list, `present`, except those stored after the list was requested.

        Returns the runs concerned.
        """
        within, touched = set(namespaces), []
        for key, family in list(self._families.items()):
            if within and key.namespace not in within:
                continue
            run = family.run
            if kind == KIND and run is not None and run.taken <= listed_after and (key, key.name) not in present:
                self.forget(key)
                touched.append(key)
            for place, known in list(family.children.items()):
                if place[0] == kind and known.taken <= listed_after and (key, place[1]) not in present:
                    del family.children[place]
                    touched.append(key)
        return touched


def key_of(raw: Raw) -> Key | None:
    """Return the run that an object is, or that its label names."""
    metadata = raw["metadata"]
    name = metadata["name"] if raw["kind"] == KIND else (metadata.get("labels") or {}).get(RUN_LABEL)
    return Key(metadata["namespace"], name) if name else None


def identity(raw: Raw) -> Identity:
    """Return what tells an object from the others of its kind."""
    return key_of(raw), raw["metadata"]["name"]


def version_of(raw: Raw) -> int:
    """Return the object's version; Kubernetes counts versions upwards."""
    text = raw["metadata"].get("resourceVersion", "0")
    return int(text) if text.isdecimal() else 0


def _place(raw: Raw) -> tuple[str, str]:
    return raw["kind"], raw["metadata"]["name"]


def _view(raw: Raw) -> Any:
    if raw["kind"] in JOB_KINDS:
        return job_view(raw)
    if raw["kind"] == "Pod":
        return pod_view(raw)
    return reports(raw)


def is_urgent(raw: Raw) -> bool:
    """Whether the operator should react to this object without delay."""
    if raw["kind"] == KIND:
        return True
    if raw["kind"] in JOB_KINDS:
        return job_view(raw).finished
    if raw["kind"] == "Pod":
        pod = pod_view(raw)
        return pod.deleting or bool(pod.disruption) or pod.ended
    return False


def is_new_run(raw: Raw) -> bool:
    """Whether this is a run that the operator has not processed yet."""
    seen: int = (raw.get("status") or {}).get("observedGeneration", -1)
    return raw["kind"] == KIND and seen < 0


def reports(config_map: Raw) -> dict[str, str]:
    """Return the reports that an attempt has written into its ConfigMap."""
    return {
        key: text for key, text in (config_map.get("data") or {}).items() if key in (PROGRESS_KEY, CHECKPOINT_KEY, UPLOAD_KEY)
    }


def _differ_only_in_time(old: Mapping[str, str], new: Mapping[str, str]) -> bool:
    """Whether two sets of reports differ in nothing but the time of the trainer's report."""
    before, after = read_progress(old.get(PROGRESS_KEY, "")), read_progress(new.get(PROGRESS_KEY, ""))
    if before is None or after is None or any(old.get(key) != new.get(key) for key in (CHECKPOINT_KEY, UPLOAD_KEY)):
        return False
    return after.model_copy(update={"time": before.time}) == before


def _slim(raw: Raw) -> bytes:
    kept = ("name", "namespace", "uid", "generation", "resourceVersion", "deletionTimestamp")
    metadata = {name: raw["metadata"][name] for name in kept if name in raw["metadata"]}
    slim = {**{name: raw.get(name) for name in ("apiVersion", "kind", "spec", "status")}, "metadata": metadata}
    return json.dumps(slim, separators=(",", ":")).encode()
