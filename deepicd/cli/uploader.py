"""The uploader's process: it uploads in threads, so that the main thread only handles signals."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import structlog

from deepicd.artifacts.claim import sole_writer
from deepicd.artifacts.layout import LATEST
from deepicd.artifacts.sync import MissingError, named
from deepicd.cli.grace import Signals, began_before_us, grace, termination_began
from deepicd.errors import StoreError

if TYPE_CHECKING:
    from deepicd.artifacts.claim import Writer
    from deepicd.artifacts.local_layout import Source
    from deepicd.artifacts.store.base import Store
    from deepicd.artifacts.sync import Sync
    from deepicd.kubernetes.attempt_config_map import UploadReport

T = TypeVar("T")

REPORT_SECONDS = 2.0
"""How long the process waits at its end for an API server that does not answer."""
_EXIT_SECONDS = 1.0
"""Reserved for the rest of the exit."""
_POLL_SECONDS = 1.0
_NAMED = 8
"""Most missing things that a message names."""


class Uploader:
    """Follows a folder until `run-finished`, or until SIGTERM and the end of the grace period."""

    def __init__(self, store: Store, source: Source, make: Callable[[Writer], Sync], report: UploadReport | None) -> None:
        """`make` claims an attempt of the store for the folder's writer."""
        self._store = store
        self._source = source
        self._make = make
        self._report = report
        self._sync: Sync | None = None
        self._ended = False
        self._failure: Exception | None = None
        self._trouble = ""
        self._ending = threading.Event()

    def run(self, signals: Signals, period: timedelta, mark: Path | None) -> None:
        """`period`: from SIGTERM, or from the time in the file `mark` if it exists, to the process's end.

        Raises:
            MissingError: the period was too short.
            UserError: the store or the folder cannot be used.
        """
        # If there is a folder, a trainer may still be saving: SIGTERM or `run-finished` follows its end.
        missed = began_before_us(mark) and not self._source.folder.is_dir()
        asked = time.monotonic() if missed else None
        threading.Thread(target=self._work, args=(signals,), name="deepicd-uploader", daemon=True).start()
        while asked is None and not self._ended:
            signals.wait()
            asked = signals.asked
        if asked is None:
            self._leave([], time.monotonic() + REPORT_SECONDS)
        else:
            allowed = grace(period.total_seconds(), asked, termination_began(mark))
            self._leave(self._finish(signals, allowed.give_up), allowed.end - _EXIT_SECONDS)

    def _finish(self, signals: Signals, give_up: float) -> list[str]:
        """Store what is complete while there is time; returns what is still missing."""
        self._ending.set()
        if self._sync is not None:
            self._sync.request_end()
        while not self._ended and (self._sync is not None or self._missing()):
            if (left := give_up - time.monotonic()) <= 0:
                return self._missing()
            signals.wait(left)
        return []

    def _leave(self, missing: list[str], report_until: float) -> None:
        seconds = max(0.0, min(REPORT_SECONDS, report_until - time.monotonic()))
        if self._failure is not None:
            if self._report is not None:
                self._report.close(seconds)
            raise self._failure
        shown = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
        if self._report is not None:
            self._report.ended(shown, seconds)
        if missing:
            trouble = self._store.trouble or (self._trouble if self._sync is None else self._sync.trouble)
            reason = trouble or "the store did not answer in time: run deepicd sync again on this folder"
            raise MissingError(f"not stored within the grace period: {shown}: {reason}")

    def _missing(self) -> list[str]:
        if self._sync is not None:
            return self._sync.missing()
        return named(self._source.complete(), [file.key for file in self._source.growing(1)])

    def _work(self, signals: Signals) -> None:
        try:
            self._upload()
        except Exception as error:  # raised again by the main thread
            self._failure = error
        self._ended = True
        signals.wake()

    def _upload(self) -> None:
        # Fail now for a wrong secret or bucket, not after hours of training.
        self._patiently(lambda: self._store.read(LATEST))
        while not self._source.folder.is_dir():
            if self._ending.wait(_POLL_SECONDS):
                return
        with sole_writer(self._source.folder) as writer:
            sync = self._patiently(lambda: self._make(writer))
            if self._report is not None:
                sync.on_checkpoint = self._report.stored
            sync.start()
            self._sync = sync
            if self._ending.is_set():
                sync.request_end()
            sync.join()

    def _patiently(self, act: Callable[[], T]) -> T:
        """Try again until the store answers; training continues."""
        while True:
            try:
                return act()
            except StoreError as error:
                self._trouble = str(error)
                structlog.get_logger().warning("store does not answer, trying again", reason=self._trouble)
                time.sleep(_POLL_SECONDS)
