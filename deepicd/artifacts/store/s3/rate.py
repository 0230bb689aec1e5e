"""The limit of `storage.maxBytesPerSecond`."""

from __future__ import annotations

import threading
import time


class RateLimit:
    """Delays callers so that all of them together stay below a number of bytes a second; None means no limit."""

    def __init__(self, bytes_per_second: int | None) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Return when `count` bytes may be sent."""
        if self._rate is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(self._free_at, now)
            self._free_at = start + count / self._rate
        time.sleep(start - now)
