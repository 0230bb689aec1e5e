from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from deepicd.cli import cluster
from deepicd.cli.main import cli
from deepicd.errors import UserError
from tests.unit.spec.test_load import SAMPLES

RUN_YAML = next(path for path in SAMPLES if path.stem == "quickstart")


class Found:
    """An API server that has one run, in each of these states in turn."""

    namespace = "research"

    def __init__(self, *statuses: dict[str, Any], generation: int = 1, suspend: bool = False, **metadata: Any) -> None:
        self._rest = iter(statuses)
        self._metadata = {"uid": "1", "generation": generation, **metadata}
        self._spec = {"suspend": suspend}

    def run(self, name: str) -> dict[str, Any]:
        status = {"observedGeneration": 1, **next(self._rest)}
        return {"metadata": {"name": name, **self._metadata}, "spec": self._spec, "status": status}

    def apply(self, content: dict[str, Any]) -> dict[str, Any]:
        return self.run(content["metadata"]["name"])


def given_to(found: Found, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    """What a command prints with an API server that has this run."""
    monkeypatch.setattr(cluster, "_api", lambda _: found)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0)
    return CliRunner().invoke(cli, list(arguments))


def refused(found: Found, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """The error of a command: one for the user, so its exit code is 64."""
    done = given_to(found, monkeypatch, *arguments)
    assert isinstance(done.exception, UserError)
    return str(done.exception)


def test_wait_says_once_what_a_pending_run_waits_for(monkeypatch: pytest.MonkeyPatch) -> None:
    no_room = [{"type": "Scheduled", "status": "False", "reason": "Unschedulable", "message": "no node has room: free one"}]
    pending = {"state": "Pending", "reason": "Unschedulable", "attempt": 1, "conditions": no_room}
    found = Found(pending, pending, {"state": "Running", "reason": "Running", "attempt": 1}, {"state": "Succeeded"})
    done = given_to(found, monkeypatch, "wait", "quickstart")
    assert done.exit_code == 0
    assert done.stdout.splitlines() == [
        "Pending (Unschedulable), attempt 1: no node has room: free one", "Running, attempt 1", "Succeeded",
    ]  # fmt: skip


def test_status_is_watched_or_printed_as_json_and_not_both() -> None:
    done = CliRunner().invoke(cli, ["status", "--watch", "--json"])
    assert isinstance(done.exception, UserError)
    assert str(done.exception) == "--json: is given with --watch: leave one of them out"


FAILED = {"state": "Failed", "reason": "OutOfMemory", "attempt": 3}


def test_a_wait_does_not_take_an_end_from_before_the_last_change(monkeypatch: pytest.MonkeyPatch) -> None:
    running = {"state": "Running", "reason": "Running", "attempt": 4, "observedGeneration": 2}
    found = Found(FAILED, running, {**running, "state": "Succeeded"}, generation=2)
    done = given_to(found, monkeypatch, "wait", "quickstart")
    assert done.exit_code == 0
    assert done.stdout.splitlines()[0] == "changed, not seen by the operator yet"
    assert "Failed" not in done.stdout


def test_submit_with_a_change_says_that_a_failed_run_starts_its_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    done = given_to(Found(FAILED, generation=2), monkeypatch, "submit", str(RUN_YAML))
    assert done.exit_code == 0
    assert done.stdout.startswith("run quickstart changed in namespace research: attempt 4 follows: ")


def test_submit_waits_for_the_end_of_the_attempt_that_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {"observedGeneration": 2, "attempt": 4}
    after = ({**seen, "state": "Pending", "reason": "Created"}, {**seen, "state": "Succeeded"})
    found = Found(FAILED, FAILED, FAILED, *after, generation=2)
    done = given_to(found, monkeypatch, "submit", str(RUN_YAML), "--wait")
    assert done.exit_code == 0
    _, *lines = done.stdout.splitlines()
    assert lines == ["changed, not seen by the operator yet", "Pending (Created), attempt 4", "Succeeded, attempt 4"]


def test_submit_does_not_wait_where_no_attempt_follows_the_change(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Found(FAILED, FAILED, {**FAILED, "observedGeneration": 2}, generation=2)
    assert "no attempt follows the change" in refused(found, monkeypatch, "submit", str(RUN_YAML), "--wait")


def test_submit_of_a_failed_run_without_a_change_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    text = refused(Found(FAILED), monkeypatch, "submit", str(RUN_YAML), "--wait")
    assert text.startswith("run quickstart: has failed (OutOfMemory), and the file changes nothing: change a field that may")
    assert "deepicd cancel quickstart --delete -n research" in text


def test_submit_of_a_run_that_has_succeeded_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    for generation in (1, 2):
        found = Found({"state": "Succeeded", "attempt": 1}, generation=generation)
        text = refused(found, monkeypatch, "submit", str(RUN_YAML))
        assert "has succeeded, so no attempt follows: give it another name" in text


def test_submit_of_a_suspended_run_says_how_it_resumes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    suspended = {"state": "Suspended", "attempt": 1}
    text = refused(Found(suspended, suspend=True), monkeypatch, "submit", str(RUN_YAML))
    assert "is suspended, and stays suspended: add suspend: false to the file, or give 'deepicd resume quickstart" in text
    file = tmp_path / "run.yaml"
    file.write_text(RUN_YAML.read_text() + "  suspend: true\n")
    done = given_to(Found(suspended, suspend=True), monkeypatch, "submit", str(file))
    assert (done.exit_code, "suspended: 'deepicd resume quickstart" in done.stdout) == (0, True)
    assert "spec.suspend: is true" in refused(Found(), monkeypatch, "submit", str(file), "--wait")


def test_submit_of_a_run_that_is_being_deleted_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Found({"state": "Running"}, deletionTimestamp="2026-01-01T00:00:00Z")
    assert "is being deleted: submit it again once it is gone" in refused(found, monkeypatch, "submit", str(RUN_YAML))


def test_submit_of_a_new_or_running_run_says_how_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    for status in ({"observedGeneration": -1, "state": "Pending"}, {"state": "Running", "attempt": 1}):
        done = given_to(Found(status), monkeypatch, "submit", str(RUN_YAML))
        assert (done.exit_code, done.stdout) == (
            0, "run quickstart applied in namespace research: 'deepicd wait quickstart -n research' waits for its end\n",
        )  # fmt: skip
