"""Upload a folder while training writes to it; training never waits for the upload.

Models and checkpoints are uploaded one at a time, what a resume needs first; growing files are uploaded in parallel.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import dataclass, field
from math import inf

import structlog

from deepicd.artifacts import retention
from deepicd.artifacts.growing_files import Follower
from deepicd.artifacts.layout import CheckpointRef, kind_of, parse_folder
from deepicd.artifacts.local_layout import Complete, Source, mark_durable
from deepicd.artifacts.publish import Origin, Published, VanishedError, publish
from deepicd.artifacts.retention import Keep
from deepicd.artifacts.store.base import ChangedError, DamagedError, Store
from deepicd.errors import StoreError, UserError
from deepicd.run_layout import MODELS, CheckpointFolders, UploadedFolder
from deepicd.spec.progress import Checkpoint

POLL_SECONDS = 1.0
_LONGEST_WAIT = 60.0
_GROWING = "logs and metrics"
_CHANGING = (ChangedError, VanishedError)
_RETRIED = (ChangedError, DamagedError, StoreError, UserError, OSError)
"""Errors that a retry may solve: a secret may be renewed, disk space freed."""

Metrics = Callable[[str, int], dict[str, float] | None]
"""The metrics of a stage's step, or None."""


class MissingError(StoreError):
    """The upload ended before all complete checkpoints, models and files were durable."""

    at_once = True


def next_upload(
    complete: Iterable[Complete], durable: Set[Complete], retry_at: Mapping[Complete, float] | None = None, now: float = 0
) -> Complete | None:
    """The next upload: models in training order, since every resume needs them, then the newest checkpoint."""
    waiting = [item for item in complete if item not in durable and (retry_at or {}).get(item, 0) <= now]
    return min(waiting, key=_urgency, default=None)


def named(complete: Iterable[Complete], growing: Iterable[str]) -> list[str]:
    """Names for a message: what a resume needs first, then each kind of growing file once."""
    return [*(str(item) for item in sorted(complete, key=_urgency)), *dict.fromkeys(kind_of(key) for key in growing)]


def _urgency(item: Complete) -> tuple[bool, int, int]:
    stage = MODELS.index(item.stage)
    return (False, stage, 0) if item.step is None else (True, -stage, -item.step)


@dataclass
class Sync:
    """The uploads of one attempt. The store is rooted at the run, and the attempt is already claimed."""

    store: Store
    attempt: int
    source: Source
    origin: Origin
    metrics: Metrics = lambda stage, step: None
    keep: Keep | None = None
    """Which checkpoints to keep in the store; None keeps all."""
    on_checkpoint: Callable[[Checkpoint], None] | None = None
    """Called with each stored checkpoint of this attempt that is newer than the last one reported."""
    clock: Callable[[], float] = time.monotonic

    _reported: CheckpointRef | None = field(default=None, init=False)
    _durable: frozenset[Complete] = field(default=frozenset(), init=False)
    _retry_at: dict[Complete, float] = field(default_factory=dict, init=False)
    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _ended: threading.Event = field(default_factory=threading.Event, init=False)
    _failure: Exception | None = field(default=None, init=False)
    _troubles: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._follower = Follower(self.store, self.source, self.attempt, self.clock)
        self._log = structlog.get_logger().bind(attempt=self.attempt)

    def once(self) -> None:
        """Upload what is complete, and the growing files as they are now.

        Raises:
            MissingError: a folder kept changing.
            UserError, StoreError: see `Store`; also UserError if a manifest in the store is damaged.
        """
        for last in (False, False, True):
            while item := self._next():
                try:
                    self._upload(item)
                except _CHANGING as error:
                    self._retry_at[item] = inf
                    self._log.warning("changed during its upload", what=str(item), reason=str(error))
                except DamagedError as error:
                    raise UserError(f"{self.store.url}/{error}: delete that folder, then run again") from None
            if not self._retry_at or last:
                break
            time.sleep(POLL_SECONDS)
            self._retry_at.clear()
        self._follower.send(everything=True)
        # A log that grew during the upload is not missing: what there was is stored.
        if missing := named(self._waiting(), ()):
            raise MissingError(f"{self.source.folder}: changed during the upload: not stored: {', '.join(missing)}")

    def start(self) -> None:
        """Start uploading, in threads of this process."""
        for loop in (self._upload_complete, self._upload_growing):
            threading.Thread(target=self._guarded, args=(loop,), name="deepicd-sync", daemon=True).start()

    def request_end(self) -> None:
        """Upload what is complete now, then end."""
        self._ending.set()

    def join(self, seconds: float | None = None) -> bool:
        """Wait until everything is durable, after `request_end` or the folder's `run-finished`; returns whether it is.

        Raises:
            Exception: the error that ended the upload; a failing store does not end it.
        """
        ended = self._ended.wait(seconds)
        if self._failure is not None:
            raise self._failure
        return ended

    def missing(self) -> list[str]:
        """What is complete locally but not durable in the store: see `named`."""
        return named(self._waiting(), self._follower.unsent())

    @property
    def trouble(self) -> str:
        """Why something is not durable yet, or empty; one line, without secrets."""
        return self.store.trouble or next(iter(list(self._troubles.values())), "")

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except Exception as error:  # raised by `join`
            self._failure = error
            self._ended.set()

    def _upload_complete(self) -> None:
        failures = 0
        while not self._ended.is_set():
            item = self._next()
            if item is None:
                self._pause(POLL_SECONDS)
                continue
            try:
                self._upload(item)
                failures = 0
                self._troubles.pop(str(item), None)
            except VanishedError:
                self._retry_at[item] = self.clock() + POLL_SECONDS
                self._log.info("was deleted before it was stored", what=str(item))
            except _RETRIED as error:
                failures += 1
                wait = min(2.0**failures, _LONGEST_WAIT)
                self._warn(error, str(item), wait)
                if isinstance(error, StoreError):
                    self._pause(wait)
                else:
                    self._retry_at[item] = self.clock() + wait

    def _upload_growing(self) -> None:
        failures = 0
        while True:
            ending = self._is_ending() and not self._waiting()
            wait = POLL_SECONDS
            try:
                self._follower.send(everything=ending)
                failures = 0
                self._troubles.pop(_GROWING, None)
            except _RETRIED as error:
                failures += 1
                wait = min(2.0**failures, _LONGEST_WAIT)
                self._warn(error, _GROWING, wait)
            # A log that still grows is not waited for: what there was at the end is stored.
            if ending and not failures and not self._waiting():
                self._ended.set()
                return
            self._pause(wait)

    def _pause(self, seconds: float) -> None:
        if self._is_ending():
            time.sleep(min(seconds, POLL_SECONDS))
        else:
            self._ending.wait(seconds)

    def _is_ending(self) -> bool:
        return self._ending.is_set() or UploadedFolder(self.source.folder).finished.exists()

    def _next(self) -> Complete | None:
        complete = self.source.complete()
        for folder in {item.folder.parent for item in self._durable.union(complete)}:
            CheckpointFolders(folder).drop_marks()
        # Training may delete a folder and create it again: then it needs its marker again.
        self._durable = frozenset(item for item in complete if item in self._durable and item.marker.exists())
        return next_upload(complete, self._durable, self._retry_at, self.clock())

    def _waiting(self) -> list[Complete]:
        return [item for item in self.source.complete() if item not in self._durable]

    def _warn(self, error: Exception, what: str, wait: float) -> None:
        self._troubles[what] = str(error)
        self._log.warning("upload failed, trying again", what=what, reason=str(error), seconds=wait)

    def _upload(self, item: Complete) -> None:
        began = self.clock()
        try:
            if (published := self._stored_as(item)) is None:
                step, ref = item.step, item.ref(self.attempt)
                metrics = (lambda: None) if step is None else (lambda: self.metrics(item.stage, step))
                published = publish(self.store, ref, item.folder, self.origin, metrics=metrics)
                mark_durable(item, ref)
                size, seconds = published.manifest.size, round(self.clock() - began, 1)
                said = f"{item}, {size / 1e6:,.1f} MB in {seconds:g} s"
                self._log.info("stored", text=said, what=str(item), bytes=size, seconds=seconds)
        except FileNotFoundError:
            raise VanishedError(str(item.folder)) from None
        self._durable |= {item}
        self._retry_at.pop(item, None)
        self._report(published)
        if self.keep is not None and item.step is not None:
            self._retain(self.keep)

    def _stored_as(self, item: Complete) -> Published | None:
        """The checkpoint or model if an earlier process has stored or restored it: its marker says where."""
        try:
            ref = parse_folder(item.marker.read_text().strip())
        except FileNotFoundError:
            return None
        return Published.read(self.store, ref) if ref is not None else None

    def _report(self, published: Published) -> None:
        made, ref = published.manifest, published.manifest.ref
        if self.on_checkpoint is None or not isinstance(ref, CheckpointRef) or ref.attempt != self.attempt:
            return
        # An older checkpoint that is stored later is not reported.
        if self._reported is not None and ref <= self._reported:
            return
        uri = f"{self.store.url}/{ref.folder}"
        self.on_checkpoint(Checkpoint(stage=ref.stage, step=ref.step, uri=uri, sha256=published.sha256, time=made.created))
        self._reported = ref

    def _retain(self, keep: Keep) -> None:
        try:
            retention.apply(self.store, keep, may=lambda ref: ref.attempt <= self.attempt)
        except (UserError, StoreError, DamagedError) as error:
            self._log.warning("old checkpoints stay for now", reason=str(error))
