from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from deepicd.cli import cluster_watch
from deepicd.cli.cluster_watch import console, follow
from deepicd.errors import UserError
from deepicd.kubernetes.api import ClusterError

Runs = list[dict[str, Any]]
AWAY = ClusterError("API server: ReadTimeout: check that the cluster is up")


def in_state(state: str) -> Runs:
    return [{"metadata": {"name": "night-run"}, "status": {"observedGeneration": 1, "state": state}}]


def finds(*found: Runs | BaseException) -> Callable[[], Runs]:
    """Each in turn, then Ctrl-C."""
    rest = iter([*found, KeyboardInterrupt()])

    def look() -> Runs:
        if isinstance(each := next(rest), BaseException):
            raise each
        return each

    return look


@pytest.fixture
def output(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What is written, to a terminal or not."""
    made = io.StringIO()
    screen = Console(file=made, force_terminal=request.param, width=100)
    monkeypatch.setattr(cluster_watch, "console", lambda: screen)
    return made


def watch(*found: Runs | BaseException) -> None:
    follow(finds(*found), lambda runs: Text(f"shown: {runs[0]['status']['state']}"), seconds=0)


terminal = pytest.mark.parametrize("output", [True], indirect=True)
pipe = pytest.mark.parametrize("output", [False], indirect=True)


@terminal
def test_an_api_server_that_does_not_answer_is_noted_above_what_was_found_last(output: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt):
        watch(in_state("Pending"), AWAY, in_state("Running"))
    before, noted = output.getvalue().split("warning: API server: ReadTimeout", 1)
    assert "shown: Pending" in before
    assert noted.index("still trying") < noted.index("shown: Pending") < noted.index("shown: Running")


@terminal
def test_the_note_goes_with_the_next_answer(output: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt):
        watch(in_state("Pending"), AWAY, in_state("Running"), in_state("Succeeded"))
    assert output.getvalue().count("warning") == 1


@terminal
def test_an_error_of_the_user_ends_the_watch(output: io.StringIO) -> None:
    with pytest.raises(UserError, match="does not exist"):
        watch(in_state("Running"), UserError("run night-run: does not exist"))


@terminal
def test_the_first_look_must_succeed(output: io.StringIO) -> None:
    with pytest.raises(ClusterError):
        watch(AWAY, in_state("Running"))


@pipe
def test_a_pipe_gets_only_changes(output: io.StringIO) -> None:
    with pytest.raises(KeyboardInterrupt):
        watch(in_state("Pending"), in_state("Pending"), AWAY, in_state("Running"))
    lines = output.getvalue().splitlines()
    assert lines == [
        "shown: Pending",
        "warning: API server: ReadTimeout: check that the cluster is up; still trying",
        "shown: Running",
    ]


def test_a_pipe_cuts_nothing_off_at_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert console().width > 80
    monkeypatch.setenv("COLUMNS", "60")
    assert console().width == 60
