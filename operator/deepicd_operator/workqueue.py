"""Which runs are to be reconciled, and when: each at most once at a time, the earliest wish wins."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from contextlib import suppress
from typing import NamedTuple

from deepicd_operator.cache import Key

HEAD_START = 60.0
"""Seconds by which those that come first do so: under load pods are started before all else, but nothing waits for ever."""


class _Wish(NamedTuple):
    due: float
    order: float
    """Of two that are due, the one with the lower number comes first."""


class WorkQueue:
    """Keys with the time they are due. A key that is noticed while it is at work comes again afterwards."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._wishes: dict[Key, _Wish] = {}
        self._later: list[tuple[float, Key]] = []
        self._now: list[tuple[float, Key]] = []
        self._at_work: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0, *, first: bool = False) -> None:
        """Have a run reconciled after a delay in seconds, or earlier, if that is wished already; `first`: before others."""
        due = self._clock() + delay
        known = self._wishes.get(key, _Wish(float("inf"), float("inf")))
        wish = _Wish(min(due, known.due), min(due - (HEAD_START if first else 0.0), known.order))
        if wish != known:
            self._wishes[key] = wish
            heapq.heappush(self._later, (wish.due, key))
            self._changed.set()

    async def get(self) -> Key:
        """The next run that is due and not at work; `done` must be called for it."""
        while True:
            self._changed.clear()
            key, wait = self._next()
            if key is not None:
                self._at_work.add(key)
                return key
            # Not wait_for: in Python 3.11 a worker that is woken and cancelled at once would never hear that it was cancelled.
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._changed.wait()

    def _next(self) -> tuple[Key | None, float | None]:
        now = self._clock()
        while self._later and self._later[0][0] <= now:
            due, key = heapq.heappop(self._later)
            if (wish := self._wishes.get(key)) is not None and wish.due == due:
                heapq.heappush(self._now, (wish.order, key))
        held: list[tuple[float, Key]] = []
        found: Key | None = None
        while self._now and found is None:
            order, key = heapq.heappop(self._now)
            if key not in self._wishes or self._wishes[key].order != order:
                continue
            if key in self._at_work:
                held.append((order, key))
                continue
            del self._wishes[key]
            found = key
        for item in held:
            heapq.heappush(self._now, item)
        return found, self._later[0][0] - now if self._later else None

    def done(self, key: Key) -> None:
        """The run is no longer at work."""
        self._at_work.discard(key)
        self._changed.set()

    @property
    def depth(self) -> int:
        """Runs that are due or at work."""
        now = self._clock()
        return len(self._at_work) + sum(wish.due <= now for wish in self._wishes.values())

    @property
    def age(self) -> float:
        """Seconds that the run waiting longest has been due."""
        now = self._clock()
        return max((now - wish.due for wish in self._wishes.values() if wish.due <= now), default=0.0)
