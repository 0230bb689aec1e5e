"""Which runs to reconcile, and when: each at most once at a time, at the earliest requested time."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from deepicd_operator.cache import Key

HEAD_START = 60.0
"""Seconds of priority for new runs: under load their pods start before other work, but nothing waits forever."""


class _Entry(NamedTuple):
    due: float
    order: float
    """Of two due entries, the one with the lower number comes first."""


class WorkQueue:
    """Keys with the time they are due. A key that is added while it is being processed is returned again afterwards."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[Key, _Entry] = {}
        self._later: list[tuple[float, Key]] = []
        self._now: list[tuple[float, Key]] = []
        self._at_work: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0, *, first: bool = False) -> None:
        """Queue a run after a delay in seconds, or earlier if it is queued for earlier. `first`: before others."""
        due = self._clock() + delay
        known = self._entries.get(key, _Entry(float("inf"), float("inf")))
        entry = _Entry(min(due, known.due), min(due - (HEAD_START if first else 0.0), known.order))
        if entry != known:
            self._entries[key] = entry
            heapq.heappush(self._later, (entry.due, key))
            self._changed.set()

    async def get(self) -> Key:
        """Wait for the next run that is due and not being processed. The caller must call `done` for it."""
        while True:
            self._changed.clear()
            key, wait = self._next()
            if key is not None:
                self._at_work.add(key)
                return key
            # Not wait_for: in Python 3.11 a worker that is woken and cancelled at the same time would miss its cancellation.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _next(self) -> tuple[Key | None, float | None]:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            if (entry := self._entries.get(key)) is not None and entry.due == due:
                heapq.heappush(self._now, (entry.order, key))
        held: list[tuple[float, Key]] = []
        found: Key | None = None
        while self._now and found is None:
            order, key = heapq.heappop(self._now)
            if key not in self._entries or self._entries[key].order != order:
                continue
            if key in self._at_work:
                held.append((order, key))
                continue
            del self._entries[key]
            found = key
        for item in held:
            heapq.heappush(self._now, item)
        return found, self._later[0][0] - now if self._later else None

    def done(self, key: Key) -> None:
        """Mark the run as no longer being processed."""
        self._at_work.discard(key)
        self._changed.set()

    @property
    def depth(self) -> int:
        """Number of runs that are due or being processed."""
        now = self._clock()
        return len(self._at_work) + sum(entry.due <= now for entry in self._entries.values())

    @property
    def age(self) -> float:
        """Seconds since the longest-waiting run became due."""
        now = self._clock()
        return max((now - entry.due for entry in self._entries.values() if entry.due <= now), default=0.0)
