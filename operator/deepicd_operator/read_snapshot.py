"""Builds a snapshot from the cache. Asks the API server only if a stale cache could lead to a wrong decision."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from deepicd.kubernetes.errors import NotFoundError
from deepicd.kubernetes.kinds import CONFIG_MAP, POD
from deepicd.spec.progress import (
    CHECKPOINT_KEY,
    PROGRESS_KEY,
    UPLOAD_KEY,
    progress_name,
    read_checkpoint,
    read_progress,
    read_upload,
)
from deepicd.spec.resource_names import ATTEMPT_LABEL, RUN_LABEL
from deepicd_operator.attempt_result import attempt_result, head_is_lost
from deepicd_operator.cache import Cache, Key, reports
from deepicd_operator.cluster import Cluster
from deepicd_operator.kinds import JOB, RAY_JOB
from deepicd_operator.names import attempt_name
from deepicd_operator.pod_state import SLOW_START
from deepicd_operator.reasons import Reason
from deepicd_operator.snapshot import Refusal, Snapshot
from deepicd_operator.status import Attempt, read_status

LOOK_AT_NODE = timedelta(seconds=10)


class UnreadableStatusError(Exception):
    """The status cannot be read, so nothing may be decided from it."""


async def read_snapshot(
    key: Key, raw: dict[str, Any], cache: Cache, cluster: Cluster, refusal: Refusal | None, now: datetime
) -> tuple[Snapshot, datetime | None]:
    """Return the snapshot of a run, and when to read again what is not watched.

    Raises:
        UnreadableStatusError: this version of the operator cannot read the run's status.
    """
    metadata = raw["metadata"]
    uid, status = metadata["uid"], read_status(raw.get("status"))
    if status is None:
        raise UnreadableStatusError(f"{key.namespace}/{key.name}: its status was not written by this version of the operator")
    snapshot = Snapshot(
        name=key.name,
        namespace=key.namespace,
        uid=uid,
        generation=metadata.get("generation", 0),
        deleting="deletionTimestamp" in metadata,
        content={name: raw[name] for name in ("apiVersion", "kind")} | {"metadata": {"name": key.name}, "spec": raw["spec"]},
        status=status,
        version=metadata.get("resourceVersion"),
        jobs=cache.jobs(key, uid),
        pods=cache.pods(key, uid),
        orphans=cache.orphans(key, uid),
        refusal=refusal,
    )
    attempt = status.current
    if attempt is None or snapshot.deleting:
        return snapshot, None
    if attempt.end is not None:
        return _with_reports(snapshot, cache.reports(key, progress_name(key.name, attempt.number), uid)), None
    found = cache.reports(key, progress_name(key.name, attempt.number), uid)
    snapshot = replace(snapshot, complete=found is not None)
    snapshot = await _confirm_job(key, snapshot, attempt, cache, cluster)
    snapshot = await _confirm_end(key, snapshot, attempt, cache, cluster)
    snapshot = await _read_report(key, snapshot, attempt, cache, cluster, now)
    return await _look_closer(snapshot, attempt, cluster, now)


async def _confirm_job(key: Key, snapshot: Snapshot, attempt: Attempt, cache: Cache, cluster: Cluster) -> Snapshot:
    """Look for a Job that existed and is not in the cache: its absence ends the attempt."""
    was_there = snapshot.complete or attempt.pod is not None
    ends = attempt.reason or snapshot.spec_field("suspend") or attempt.is_outdated(snapshot.generation)
    if snapshot.job(attempt.number) is not None or not (was_there or ends):
        return snapshot
    compute = snapshot.spec_field("compute")
    nodes = compute.get("nodes") if isinstance(compute, dict) else None
    kind = RAY_JOB if isinstance(nodes, int) and nodes > 1 else JOB
    try:
        cache.put(await cluster.get(kind, key.namespace, attempt_name(key.name, attempt.number)))
    except NotFoundError:
        return snapshot
    return replace(snapshot, jobs=cache.jobs(key, snapshot.uid))


async def _confirm_end(key: Key, snapshot: Snapshot, attempt: Attempt, cache: Cache, cluster: Cluster) -> Snapshot:
    """Read the Job or the pods if the watch of the other kind reported an end first.

    Only the pods of a finished Job show why it ended, and a Ray cluster's head is lost only if its RayJob has not finished.
    """
    if head_is_lost(attempt, snapshot):
        name = attempt_name(key.name, attempt.number)
        try:
            cache.put(await cluster.get(RAY_JOB, key.namespace, name))
        except NotFoundError:
            cache.drop_child(key, RAY_JOB, name)
        snapshot = await _read_pods(key, replace(snapshot, jobs=cache.jobs(key, snapshot.uid)), attempt, cache, cluster)
    job, pod = snapshot.job(attempt.number), snapshot.pod(attempt.number)
    if job is None or not job.finished or (pod is not None and pod.ended):
        return snapshot
    return await _read_pods(key, snapshot, attempt, cache, cluster)


async def _read_pods(key: Key, snapshot: Snapshot, attempt: Attempt, cache: Cache, cluster: Cluster) -> Snapshot:
    found = await cluster.list(POD.name, key.namespace, {RUN_LABEL: key.name, ATTEMPT_LABEL: str(attempt.number)})
    for raw in found:
        cache.put(raw)
    names = {raw["metadata"]["name"] for raw in found}
    for pod in snapshot.pods:
        if pod.attempt == attempt.number and pod.name not in names:
            cache.drop_child(key, POD.name, pod.name)
    return replace(snapshot, pods=cache.pods(key, snapshot.uid))


async def _read_report(
    key: Key, snapshot: Snapshot, attempt: Attempt, cache: Cache, cluster: Cluster, now: datetime
) -> Snapshot:
    """Add the newest reports. If the attempt failed, read them from the API server: their watch may be behind that of the Job.

    The last reports of a completed attempt decide nothing, so they may arrive later.
    """
    name, job = progress_name(key.name, attempt.number), snapshot.job(attempt.number)
    found = cache.reports(key, name, snapshot.uid)
    if found is None or job is None or not job.finished:
        return _with_reports(snapshot, found)
    ended = attempt_result(attempt, snapshot, now)
    if ended is None or ended.reason is not Reason.COMPLETED:
        with suppress(NotFoundError):
            found = reports(await cluster.get(CONFIG_MAP.name, key.namespace, name))
    return _with_reports(snapshot, found)


def _with_reports(snapshot: Snapshot, found: Mapping[str, str] | None) -> Snapshot:
    if found is None:
        return snapshot
    return replace(
        snapshot,
        progress=read_progress(found.get(PROGRESS_KEY, "")),
        checkpoint=read_checkpoint(found.get(CHECKPOINT_KEY, "")),
        upload=read_upload(found.get(UPLOAD_KEY, "")),
    )


async def _look_closer(
    snapshot: Snapshot, attempt: Attempt, cluster: Cluster, now: datetime
) -> tuple[Snapshot, datetime | None]:
    job, pod = snapshot.job(attempt.number), snapshot.slowest_pod(attempt.number)
    lost = {each.node for each in snapshot.pods if each.attempt == attempt.number and each.deleting and each.node}
    if lost and job is not None and not job.finished:
        gone = frozenset([node for node in sorted(lost) if await cluster.node_is_lost(node)])
        return replace(snapshot, lost_nodes=gone), now + LOOK_AT_NODE
    if job is None or job.finished or job.suspended or attempt.running is not None:
        return snapshot, None
    if pod is not None and (not pod.scheduled or pod.trainer.running_since is not None):
        return snapshot, None
    since = attempt.start + SLOW_START
    if now < since:
        return snapshot, since
    trouble = await cluster.warnings(snapshot.namespace, pod.uid if pod is not None else job.uid)
    return replace(snapshot, trouble=trouble), now + 3 * SLOW_START
