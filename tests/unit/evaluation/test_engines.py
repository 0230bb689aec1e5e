"""Processes of several engines, which are stand-ins here."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from deepicd.evaluation.engines import run_engines


def python(folder: Path, script: str) -> str:
    """A stand-in for Python: `$2` is the module, `$3` the plan, `$4` the engine."""
    found = folder / "python"
    found.write_text(f"#!/bin/sh\n{script}\n")
    found.chmod(0o755)
    return str(found)


def test_each_engine_has_a_process_with_its_own_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, f'echo "$2 $3 $GPUS" > {tmp_path}/engine-$4'))
    run_engines("module", "plan.json", [{"GPUS": "0,1"}, {"GPUS": "2,3"}])
    assert [(tmp_path / f"engine-{number}").read_text() for number in range(2)] == [
        "module plan.json 0,1\n", "module plan.json 2,3\n",
    ]  # fmt: skip


def test_an_engine_that_fails_ends_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The first one never ends by itself.
    monkeypatch.setattr(sys, "executable", python(tmp_path, '[ "$4" = 0 ] && exec sleep 600\nexit 7'))
    with pytest.raises(SystemExit) as left:
        run_engines("module", "plan.json", [{}, {}])
    assert left.value.code == 7


def test_a_signal_that_ends_an_engine_is_told_as_a_shell_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", python(tmp_path, '[ "$4" = 0 ] && exec sleep 600\nkill -9 $$'))
    with pytest.raises(SystemExit) as left:
        run_engines("module", "plan.json", [{}, {}])
    assert left.value.code == 128 + signal.SIGKILL
