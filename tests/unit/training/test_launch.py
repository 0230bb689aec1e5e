from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deepicd.training.launch import GuardedProcess, wait_for_earlier


def test_the_commands_output_goes_to_the_log_and_its_scratch_folder_goes_away(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    process = GuardedProcess([sys.executable, "-c", "import sys; print(sys.argv[1])", "{scratch}"], {}, log)
    assert process.wait() == 0
    assert log.read_text().strip() == str(process.scratch)
    assert not process.scratch.exists()


def test_a_long_temporary_folder_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 60)))
    process = GuardedProcess([sys.executable, "-c", "pass"], {}, tmp_path / "log")
    assert process.wait() == 0
    assert len(str(process.scratch)) < 30


def test_an_earlier_guard_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    command = [sys.executable, "-c", "import time; time.sleep(1.5)"]
    scratch = tmp_path / "scratch"
    earlier = subprocess.Popen([sys.executable, "-m", "deepicd.training.guard", str(os.getpid()), str(scratch), "--", *command])
    log.with_suffix(".guard").write_text(str(earlier.pid))
    time.sleep(0.3)
    wait_for_earlier(log)
    assert not scratch.exists()
    assert earlier.wait(timeout=1) == 0


@pytest.mark.parametrize("content", ["", "not a number", str(os.getpid())])
def test_a_process_that_is_no_guard_is_not_waited_for(content: str, tmp_path: Path) -> None:
    (tmp_path / "training.guard").write_text(content)
    began = time.monotonic()
    wait_for_earlier(tmp_path / "training.log")
    assert time.monotonic() - began < 5
