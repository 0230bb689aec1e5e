"""Files that grow (metrics, logs, evaluation) are uploaded again when they have changed, large ones less often."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deepicd.artifacts.local_layout import Growing
from deepicd.artifacts.store.base import ChangedError, Store

EVERY_SECONDS = 5.0
BYTES_PER_SECOND = 2 * 2**20
"""Average upload rate of one growing file."""
_WHOLE = 8 * 2**20
"""Largest file, in bytes, that is sent from memory."""


@dataclass(frozen=True)
class Sent:
    """The state of a file when it was last sent."""

    state: tuple[int, int]
    """Size in bytes and modification time in ns."""
    at: float
    """When it was sent, in seconds of a monotonic clock."""


def is_due(state: tuple[int, int], sent: Sent | None, now: float) -> bool:
    """Whether to send a file now: it has changed, and was not sent too recently for its size."""
    if sent is None:
        return True
    return state != sent.state and now - sent.at >= max(EVERY_SECONDS, state[0] / BYTES_PER_SECOND)


class _Files(Protocol):
    def growing(self, attempt: int) -> list[Growing]: ...


class Follower:
    """Sends growing files, and tracks what was sent."""

    def __init__(self, store: Store, source: _Files, attempt: int, clock: Callable[[], float]) -> None:
        self._store = store
        self._source = source
        self._attempt = attempt
        self._clock = clock
        self._sent: dict[str, Sent] = {}

    def send(self, *, everything: bool = False) -> None:
        """Send what is due, or everything that has changed.

        Raises:
            UserError, StoreError: see `Store`.
        """
        for item in self._source.growing(self._attempt):
            try:
                status = item.path.stat()
                state = (status.st_size, status.st_mtime_ns)
                before = self._sent.get(item.key)
                if is_due(state, before, self._clock()) or (everything and before and before.state != state):
                    self._send(item, status.st_size)
                    self._sent[item.key] = Sent(state, self._clock())
            except FileNotFoundError:
                continue  # the next call lists it again

    def unsent(self) -> list[str]:
        """Keys of files whose newest content is not in the store."""
        found = []
        for item in self._source.growing(self._attempt):
            try:
                status = item.path.stat()
            except FileNotFoundError:
                continue
            sent = self._sent.get(item.key)
            if sent is None or sent.state != (status.st_size, status.st_mtime_ns):
                found.append(item.key)
        return found

    def _send(self, item: Growing, size: int) -> None:
        if size <= _WHOLE:
            with item.path.open("rb") as file:
                self._store.write(item.key, file.read(_WHOLE))
            return
        try:
            self._store.upload([(item.path, item.key)])
        except ChangedError:
            # It grows while it is read: send a copy.
            with tempfile.TemporaryDirectory() as folder:
                self._store.upload([(Path(shutil.copy(item.path, folder)), item.key)])
