from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from deepicd.cli import cluster
from deepicd.cli.main import cli
from deepicd.errors import UserError


class Found:
    """An API server that has one run, in each of these states in turn."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self._rest = iter(statuses)

    def run(self, name: str) -> dict[str, Any]:
        return {"metadata": {"name": name, "uid": "1"}, "spec": {}, "status": {"observedGeneration": 1, **next(self._rest)}}


def test_wait_says_once_what_a_pending_run_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    no_room = [{"type": "Scheduled", "status": "False", "reason": "Unschedulable", "message": "no node has room: free one"}]
    pending = {"state": "Pending", "reason": "Unschedulable", "attempt": 1, "conditions": no_room}
    found = Found(pending, pending, {"state": "Running", "reason": "Running", "attempt": 1}, {"state": "Succeeded"})
    monkeypatch.setattr(cluster, "_api", lambda _: found)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0)
    done = CliRunner().invoke(cli, ["wait", "quickstart"])
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Pending (Unschedulable), attempt 1: no node has room: free one", "Running, attempt 1", "Succeeded",
    ]  # fmt: skip


def test_status_is_watched_or_printed_as_json_and_not_both() -> None:
    done = CliRunner().invoke(cli, ["status", "--watch", "--json"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "--json: is given with --watch: leave one of them out"
