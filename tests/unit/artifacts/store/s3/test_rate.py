from __future__ import annotations

import time

import pytest

from deepicd.artifacts.store.s3.rate import RateLimit


def test_callers_wait_for_the_bytes_before_theirs(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    waits: list[float] = []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", waits.append)
    limit = RateLimit(1000)
    for _ in range(3):
        limit.take(500)
    now[0] += 60
    limit.take(500)
    assert waits == [0.0, 0.5, 1.0, 0.0]


def test_without_a_limit_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("waited"))
    RateLimit(None).take(10**12)
