"""`deepicd samples`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from deepicd.cli.samples import samples
from deepicd.completion import TRACE_WARNING
from deepicd.errors import UserError
from deepicd.training.kept_rollouts import KeptRollout, keep

APP = typer.Typer()
APP.command()(samples)
ONE = KeptRollout(
    step=3, id="7", rollout=0, prompt="a note", completion="an answer", gold="M5116", tokens=12, reward=0.5,
    terms={"outcome": 1.0},
)  # fmt: skip


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with the completions of two steps."""
    folder = tmp_path / "stages" / "grpo" / "rollouts"
    folder.parent.mkdir(parents=True)
    keep(folder, [ONE, replace(ONE, rollout=1, completion="another", reward=0.25)])
    keep(folder, [replace(ONE, step=20)])
    return tmp_path


def shown(*arguments: str) -> str:
    return CliRunner().invoke(APP, list(arguments), catch_exceptions=False).stdout


def test_a_group_has_its_prompt_once_and_each_completion(run: Path) -> None:
    assert shown(str(run), "--step", "3").splitlines() == [
        "═" * 80, "step 3, admission 7, gold M5116", "a note",
        "─" * 80, "completion 0: reward 0.500 (outcome 1), 12 tokens", "an answer",
        "─" * 80, "completion 1: reward 0.250 (outcome 1), 12 tokens", "another",
    ]  # fmt: skip


def test_facts_about_a_completion_are_not_shown_as_terms(run: Path) -> None:
    keep(run / "stages" / "grpo" / "rollouts", [replace(ONE, terms={"outcome": 0.0, "well_formed": 0.0, "truncated": 1.0})])
    line = next(line for line in shown(str(run), "--step", "3").splitlines() if line.startswith("completion"))
    assert line == "completion 0: reward 0.500 (outcome 0), 12 tokens, cut off at the limit"


def test_the_prompt_can_be_left_out(run: Path) -> None:
    assert "a note" not in shown(str(run), "--step", "3", "--no-prompts")


@pytest.mark.parametrize(("option", "steps"), [([], [20]), (["--all"], [3, 3, 20])])
def test_the_newest_step_or_every_step_is_printed_as_json(option: list[str], steps: list[int], run: Path) -> None:
    rows = [json.loads(line) for line in shown(str(run), "--json", *option).splitlines()]
    assert [row["step"] for row in rows] == steps
    assert (rows[-1]["prompt"], rows[-1]["terms"]) == ("a note", {"outcome": 1.0})


def test_a_run_is_found_by_its_name(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run)
    (run / "runs").mkdir()
    (run / "runs" / "quick").symlink_to(run)
    assert "step 20" in shown("quick")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], r"runs/none: no such folder: give the folder of a run, or the name of one in runs/"),
        (["."], r"\.: has no completions: set stages\.grpo\.keepRollouts"),
        (["RUN", "--step", "15"], "--step: 15 has no completions: the nearest with some is 20"),
        (["RUN", "--step", "3", "--all"], "--all: is given with --step"),
    ],
)
def test_what_cannot_be_shown_is_refused(arguments: list[str], message: str, run: Path) -> None:
    with pytest.raises(UserError, match=message):
        shown(*[str(run) if argument == "RUN" else argument for argument in arguments])


@pytest.mark.parametrize("option", ["--prompts", "--json"])
def test_the_warning_about_traces_is_on_stderr(run: Path, option: str) -> None:
    result = CliRunner().invoke(APP, [str(run), option], catch_exceptions=False)
    assert result.stderr == f"{TRACE_WARNING}\n"
    assert "convincing" not in result.stdout
