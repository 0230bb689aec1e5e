from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from deepicd.errors import CrashError
from deepicd.training.launch import GuardedProcess, begin_launch, offline_environment, wait_for_earlier
from deepicd.training.stage_files import StageFiles


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


def test_gpus_have_the_numbers_that_the_driver_gives_them() -> None:
    assert offline_environment()["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"


SHADOW = "raise SystemExit('imported instead of the library')"


def test_a_file_in_the_working_folder_is_not_imported_instead_of_a_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("yaml", "structlog", "subprocess"):
        (tmp_path / f"{library}.py").write_text(SHADOW)
    monkeypatch.chdir(tmp_path)
    process = GuardedProcess([sys.executable, "-m", "deepicd.training.prepare_main"], {}, tmp_path / "log")
    process.wait()
    assert "imported instead" not in (tmp_path / "log").read_text()


def test_modules_on_pythonpath_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_terms_of_the_user.py").write_text("")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    process = GuardedProcess([sys.executable, "-c", "import deepicd, own_terms_of_the_user"], {}, tmp_path / "log")
    assert process.wait() == 0, (tmp_path / "log").read_text()


def test_an_earlier_guard_is_waited_for(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    command = [sys.executable, "-c", "import time; time.sleep(0.3)"]
    scratch = tmp_path / "scratch"
    earlier = subprocess.Popen([sys.executable, "-m", "deepicd.training.guard", str(os.getpid()), str(scratch), "--", *command])
    log.with_suffix(".guard").write_text(f"{earlier.pid}\n{scratch}")
    while "deepicd.training.guard" not in Path(f"/proc/{earlier.pid}/cmdline").read_text():
        time.sleep(0.01)
    wait_for_earlier(log)
    assert not scratch.exists()
    assert earlier.wait(timeout=60) == 0


@pytest.mark.parametrize("content", ["", "no guard's record", f"{os.getpid()}\n/nonexistent"], ids=["empty", "text", "another"])
def test_a_process_that_is_no_guard_is_not_waited_for(content: str, tmp_path: Path) -> None:
    (tmp_path / "training.guard").write_text(content)
    began = time.monotonic()
    wait_for_earlier(tmp_path / "training.log")
    assert time.monotonic() - began < 5


# A tree that outlives its guard: a child and a daemon that has left its session, both deaf to SIGTERM.
SURVIVORS = """
import os, pathlib, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
name = "child"
if os.fork() == 0:
    os.setsid()
    name = "daemon"
(pathlib.Path(sys.argv[1]) / name).write_text(str(os.getpid()))
time.sleep(120)
"""


def test_only_metrics_of_an_earlier_launch_are_kept(tmp_path: Path) -> None:
    files = StageFiles(tmp_path / "stage")
    begin_launch(files).touch()
    files.enter_loop(3)
    files.report_failure(CrashError("x"))
    assert begin_launch(files).name == "launch-0002.jsonl"
    assert (files.total_steps, files.reported_failure()) == (None, None)


def survivors_of_a_killed_guard(folder: Path) -> tuple[GuardedProcess, list[int]]:
    process = GuardedProcess([sys.executable, "-c", SURVIVORS, str(folder)], {}, folder / "training.log")
    deadline = time.monotonic() + 60
    while not all((folder / name).exists() and (folder / name).read_text() for name in ("child", "daemon")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    return process, [int((folder / name).read_text()) for name in ("child", "daemon")]


def test_what_a_killed_guard_leaves_is_ended(tmp_path: Path) -> None:
    process, pids = survivors_of_a_killed_guard(tmp_path)
    assert process.wait() == -signal.SIGKILL
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert not process.scratch.exists()


def test_what_an_earlier_killed_guard_left_is_ended_before_the_next_launch(tmp_path: Path) -> None:
    process, pids = survivors_of_a_killed_guard(tmp_path)
    wait_for_earlier(tmp_path / "training.log")
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]
    assert not process.scratch.exists()
