"""Which runs are to be reconciled, and when: each at most once at a time, the earliest wish wins."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

from deepicd_operator.cache import Key


class WorkQueue:
    """Keys with the time they are due. A key that is noticed while it is at work comes again afterwards."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        self._heap: list[tuple[float, Key]] = []
        self._at_work: set[Key] = set()
        self._changed = asyncio.Event()

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Have a run reconciled after a delay in seconds, or earlier, if that is wished already."""
        due = self._clock() + delay
        if due < self._due.get(key, float("inf")):
            self._due[key] = due
            heapq.heappush(self._heap, (due, key))
            self._changed.set()

    async def get(self) -> Key:
        """The next run that is due and not at work; `done` must be called for it."""
        while True:
            self._changed.clear()
            key, wait = self._next()
            if key is not None:
                self._at_work.add(key)
                return key
            try:
                await asyncio.wait_for(self._changed.wait(), wait)
            except TimeoutError:
                continue

    def _next(self) -> tuple[Key | None, float | None]:
        held: list[tuple[float, Key]] = []
        found: Key | None = None
        wait: float | None = None
        while self._heap:
            due, key = self._heap[0]
            if self._due.get(key) != due:
                heapq.heappop(self._heap)
                continue
            if due > self._clock():
                wait = due - self._clock()
                break
            heapq.heappop(self._heap)
            if key in self._at_work:
                held.append((due, key))
                continue
            del self._due[key]
            found = key
            break
        for item in held:
            heapq.heappush(self._heap, item)
        return found, wait

    def done(self, key: Key) -> None:
        """The run is no longer at work."""
        self._at_work.discard(key)
        self._changed.set()

    @property
    def depth(self) -> int:
        """Runs that are due or at work."""
        now = self._clock()
        return len(self._at_work) + sum(due <= now for due in self._due.values())

    @property
    def age(self) -> float:
        """Seconds that the run waiting longest has been due."""
        now = self._clock()
        return max((now - due for due in self._due.values() if due <= now), default=0.0)
