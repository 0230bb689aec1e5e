"""The controller: stores what the watches report, reconciles runs that are due, and executes the decisions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from deepicd.kubernetes.errors import (
    AlreadyExistsError,
    ChangedMeanwhileError,
    NamespaceTerminatingError,
    NotFoundError,
    RefusedError,
    RequestError,
    UnavailableError,
    UnknownKindError,
)
from deepicd.spec.resource_names import KIND
from deepicd_operator.cache import Cache, Key, identity, is_new_run, is_urgent
from deepicd_operator.cluster import ALL_NAMESPACES, Cluster
from deepicd_operator.desired import Deletion
from deepicd_operator.events import RunEvent, events_between
from deepicd_operator.faults import with_fault
from deepicd_operator.kinds import CREATED_KINDS, WATCHED, Use
from deepicd_operator.prometheus import Metrics, RunFigures
from deepicd_operator.read_snapshot import UnreadableStatusError, read_snapshot
from deepicd_operator.reasons import Reason, shorten
from deepicd_operator.reconcile import Decision, reconcile
from deepicd_operator.refused_object import RefusedObjectError, refused_object
from deepicd_operator.resources.event import event
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import Refusal, Snapshot, controller
from deepicd_operator.status import read_status, write_status
from deepicd_operator.workqueue import WorkQueue

log = structlog.get_logger()

SETTLE = 0.2
"""Seconds to wait for further changes of a child: scheduling and starting a pod takes several writes."""
FIRST_RETRY, LAST_RETRY = 0.5, 60.0
EVENT_TRIES = 3
"""How often a run waits for an event that the API server is not able to take."""
REFUSAL_WAIT = timedelta(seconds=15)


@dataclass(frozen=True)
class _Refused:
    refusal: Refusal
    generation: int


def utc_now() -> datetime:
    """Return the time in whole seconds, the resolution of Kubernetes' times."""
    return datetime.now(UTC).replace(microsecond=0)


class Controller:
    """One operator. Safe with several replicas: names are fixed, and a status is written only if the run has not changed."""

    def __init__(
        self,
        cluster: Cluster,
        settings: Settings,
        metrics: Metrics,
        namespaces: Collection[str] = (),
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._metrics = metrics
        self._namespaces = tuple(namespaces)
        self._clock = clock
        self._cache = Cache()
        self.queue = WorkQueue(time.monotonic)
        self._failures: dict[Key, int] = {}
        self._refused: dict[Key, _Refused] = {}
        self._shown: dict[Key, RunFigures] = {}
        self._absent_kinds: set[str] = set()
        self.listed = False
        """Whether everything has been listed once."""

    # Input from watches and lists.

    def notice(self, raw: Mapping[str, Any], *, gone: bool = False) -> None:
        """Store an object that was created, changed or deleted, and queue its run."""
        if gone:
            key, news = self._cache.drop(raw), True
            if key is not None and raw["kind"] == KIND:
                self._forget(key)
            elif key is not None:
                # The run may have been waiting for its name.
                self._refused.pop(key, None)
        else:
            key, news = self._cache.put(raw)
        if key is not None and news:
            self.queue.add(key, 0.0 if gone or is_urgent(raw) else SETTLE, first=not gone and is_new_run(raw))

    async def resync(self) -> None:
        """List everything and compare: repairs what a watch missed.

        Raises:
            RefusedError: listing is refused in every namespace. A namespace may be gone, which must not affect the others.
        """
        places = self._namespaces or (ALL_NAMESPACES,)
        refused = [error for namespace in places if (error := await self._resync_namespace(namespace)) is not None]
        if len(refused) == len(places):
            raise refused[0]
        for error in refused:
            log.warning("a namespace cannot be served", error=shorten(str(error)))
        self.listed = True
        for key in self._cache.runs():
            self.queue.add(key)
        self._metrics.show_runs(self._shown.values())

    async def _resync_namespace(self, namespace: str) -> RefusedError | None:
        try:
            for use in WATCHED:
                await self._resync_kind(use, namespace)
        except RefusedError as error:
            return error
        return None

    async def _resync_kind(self, use: Use, namespace: str) -> None:
        kind, listed_after = use.kind.name, self._cache.taken
        present = set()
        try:
            async for page in self._cluster.pages(kind, namespace):
                for raw in page:
                    present.add(identity(raw))
                    _, news = self._cache.put(raw, listed_after)
                    if news and self.listed:
                        self._metrics.missed.labels(kind).inc()
        except UnknownKindError:
            if not use.optional:
                raise
            self._absent_kinds.add(kind)
            return
        self._absent_kinds.discard(kind)
        within = () if namespace == ALL_NAMESPACES else (namespace,)
        for key in self._cache.keep_only(kind, present, listed_after, within):
            if self._cache.run(key) is None:
                self._forget(key)

    @property
    def absent_kinds(self) -> frozenset[str]:
        """Watched kinds that the API server does not have."""
        return frozenset(self._absent_kinds)

    # Reconciling.

    async def work(self) -> None:
        """Reconcile runs as they become due, forever. Several of these may run concurrently."""
        while True:
            key = await self.queue.get()
            try:
                await self._reconcile_safely(key)
            finally:
                self.queue.done(key)
                self._metrics.queue_age.set(self.queue.age)
                self._metrics.queue_depth.set(self.queue.depth)

    async def _reconcile_safely(self, key: Key) -> None:
        began = time.monotonic()
        structlog.contextvars.bind_contextvars(run=key.name, namespace=key.namespace)
        try:
            await self._reconcile(key)
            self._failures.pop(key, None)
        except (AlreadyExistsError, ChangedMeanwhileError):
            await self._refresh(key)
            self.queue.add(key, self._wait(key, 0.05))
        except NotFoundError:
            await self._refresh(key)
        except UnavailableError as error:
            self._metrics.errors.labels("unreachable").inc()
            wait = self._wait(key, max(FIRST_RETRY, error.retry_after or 0))
            log.warning("the API server cannot answer", error=str(error), retry_in=round(wait, 1))
            self.queue.add(key, wait)
        except (RefusedError, UnreadableStatusError) as error:
            self._metrics.errors.labels("refused").inc()
            log.warning("cannot reconcile this run", error=shorten(str(error)))
            self.queue.add(key, self._wait(key, 5.0))
        except Exception as error:
            # A bug that one run triggers must not stop the others.
            self._note_fault(error)
            await self._show_fault(key, error)
            self.queue.add(key, self._wait(key, 5.0))
        finally:
            self._metrics.reconciles.observe(time.monotonic() - began)
            structlog.contextvars.clear_contextvars()

    def _note_fault(self, error: Exception) -> None:
        self._metrics.errors.labels("bug").inc()
        log.error("fault in the operator", error=f"{type(error).__name__}: {error}", exc_info=error)

    async def _show_fault(self, key: Key, error: Exception) -> None:
        """Show in the run's status that the operator failed on it."""
        raw = self._cache.run(key)
        if raw is None or (status := read_status(raw.get("status"))) is None:
            return
        now = self._clock()
        shown = with_fault(status, error, now, raw["metadata"].get("generation", 0))
        if shown == status:
            return
        try:
            for each in events_between(status, shown):
                await self._write_event(each, key, raw["metadata"]["uid"], now)
            self._cache.put(await self._cluster.write_status(raw, write_status(shown)))
        except RequestError as refused:
            # The run is queued again in any case.
            log.warning("cannot show the fault in the status", error=shorten(str(refused)))

    def _wait(self, key: Key, first: float) -> float:
        failures = self._failures.get(key, 0)
        self._failures[key] = failures + 1
        return float(min(first * 2 ** min(failures, 12), max(LAST_RETRY, first)))

    async def _refresh(self, key: Key) -> None:
        try:
            self._cache.put(await self._cluster.get(KIND, key.namespace, key.name))
        except NotFoundError:
            self._cache.forget(key)
            self._forget(key)
        except (UnavailableError, RefusedError):
            return

    async def _reconcile(self, key: Key) -> None:
        raw, now = self._cache.run(key), self._clock()
        if raw is None:
            self._forget(key)
            return
        refusal = self._refusal(key, raw)
        snapshot, look_again = await read_snapshot(key, raw, self._cache, self._cluster, refusal, now)
        decision = reconcile(snapshot, now, self._settings)
        if decision.fault is not None:
            self._note_fault(decision.fault)
        structlog.contextvars.bind_contextvars(attempt=(decision.status or snapshot.status).attempt)
        await self._apply(key, raw, snapshot, decision, now)
        for when in (decision.look_again, look_again):
            if when is not None:
                self.queue.add(key, max(0.0, (when - now).total_seconds()))

    async def _apply(self, key: Key, raw: dict[str, Any], snapshot: Snapshot, decision: Decision, now: datetime) -> None:
        for each in decision.events:
            log.info(each.message, reason=str(each.reason))
        await self._all(self._write_event(each, key, snapshot.uid, now) for each in decision.events)
        if decision.status is not None:
            # Once this write succeeds, the decision of any other operator on the same version fails.
            self._cache.put(await self._cluster.write_status(raw, write_status(decision.status)))
        shown = decision.status or snapshot.status
        self._shown[key] = RunFigures.of(key.namespace, key.name, shown)
        await self._all(self._delete(key, deletion) for deletion in decision.delete)
        if decision.create:
            await self._create_objects(key, snapshot, decision, now)

    async def _create_objects(self, key: Key, snapshot: Snapshot, decision: Decision, now: datetime) -> None:
        try:
            spec = snapshot.content["spec"]
            news = [await self._all(self._create(content, spec) for content in group) for group in decision.create]
        except RefusedObjectError as error:
            wait = REFUSAL_WAIT if key not in self._refused else REFUSAL_WAIT * 4
            refusal = Refusal(error.reason, shorten(str(error)), now + wait)
            self._refused[key] = _Refused(refusal, snapshot.generation)
            self.queue.add(key)
        else:
            self._refused.pop(key, None)
            if any(map(any, news)):
                # They are in the cache already, so their watch events will not queue the run.
                self.queue.add(key, SETTLE)

    async def _all(self, requests: Any) -> list[Any]:
        results = await asyncio.gather(*requests, return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    async def _write_event(self, run_event: RunEvent, key: Key, uid: str, now: datetime) -> None:
        try:
            await self._cluster.create(event(run_event, key.name, key.namespace, uid, now))
        except AlreadyExistsError:
            if run_event.addition is not None:
                await self._write_event(run_event.addition, key, uid, now)
        except RefusedError as error:
            # A run must not stop because the operator may not write events.
            log.warning("cannot write an event", error=shorten(str(error)))
        except UnavailableError as error:
            # Nor because of a rate limit on events; any other failure shows again with the status.
            if self._failures.get(key, 0) < EVENT_TRIES:
                raise
            log.warning("cannot write an event", error=shorten(str(error)))

    async def _delete(self, key: Key, deletion: Deletion) -> None:
        try:
            await self._cluster.delete(key.namespace, deletion)
        except ChangedMeanwhileError:
            # The cached view was out of date: read the object and decide again.
            try:
                self._cache.put(await self._cluster.get(deletion.kind, key.namespace, deletion.name))
            except NotFoundError:
                self._cache.drop_child(key, deletion.kind, deletion.name)
            raise

    async def _create(self, content: dict[str, Any], spec: Mapping[str, Any]) -> bool:
        """Create an object unless it exists. Returns whether it is news."""
        kind, metadata, is_new = content["kind"], content["metadata"], True
        try:
            made = await self._cluster.create(content)
        except AlreadyExistsError:
            is_new = False
            made = await self._existing(kind, metadata)
            if controller(made) != controller(content):
                found = f"{kind} {metadata['name']}"
                if (other := controller(made)) is not None and other[0] == KIND:
                    found += " of an earlier run, which Kubernetes is deleting"
                raise RefusedObjectError(Reason.NAME_TAKEN, found) from None
        except NamespaceTerminatingError:
            found = f"namespace {metadata['namespace']} is being deleted"
            raise UnavailableError(found, retry_after=LAST_RETRY) from None
        except (NotFoundError, RefusedError) as error:
            raise refused_object(content, error, spec) from None
        return (kind in CREATED_KINDS and self._cache.put(made)[1]) or is_new

    async def _existing(self, kind: str, metadata: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return await self._cluster.get(kind, metadata["namespace"], metadata["name"])
        except NotFoundError as error:
            # It has just been deleted: its name is free, so reconcile the run again immediately.
            raise ChangedMeanwhileError(str(error)) from None

    def _refusal(self, key: Key, raw: Mapping[str, Any]) -> Refusal | None:
        refused = self._refused.get(key)
        if refused is None or refused.generation != raw["metadata"].get("generation"):
            return None
        return refused.refusal

    def _forget(self, key: Key) -> None:
        for memory in (self._failures, self._refused, self._shown):
            memory.pop(key, None)
