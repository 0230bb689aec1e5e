"""The guard is tested as it is used: as a process, with real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

# A tree as Ray makes them: a child, a daemon that leaves its session and its parent, and a shared-memory segment of each.
TREE = """
import mmap, os, pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def hold(name):
    path = "/dev/shm/deepicd-test-%d-%s" % (os.getpid(), name)
    file = open(path, "w+b"); file.truncate(4096)
    memory = mmap.mmap(file.fileno(), 4096)
    (folder / (name + ".new")).write_text("%d %s" % (os.getpid(), path))
    (folder / (name + ".new")).rename(folder / name)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(120)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        hold("daemon")
    os._exit(0)
hold("child")
"""


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


def start(folder: Path, *command: str) -> subprocess.Popen[bytes]:
    scratch = folder / "scratch"
    scratch.mkdir()
    return subprocess.Popen([sys.executable, "-m", "deepicd.training.guard", str(os.getpid()), str(scratch), "--", *command])


def tree_of(folder: Path, *names: str) -> tuple[list[int], list[Path]]:
    wait_for(lambda: all((folder / name).exists() for name in names))
    records = [(folder / name).read_text().split() for name in names]
    return [int(pid) for pid, _ in records], [Path(path) for _, path in records]


def assert_gone(pids: list[int], segments: list[Path], scratch: Path) -> None:
    wait_for(lambda: not any(psutil.pid_exists(pid) for pid in pids))
    wait_for(lambda: not any(path.exists() for path in segments))
    wait_for(lambda: not scratch.exists())


@pytest.mark.parametrize("code", [0, 1, 64])
def test_the_commands_exit_code_is_the_guards(code: int, tmp_path: Path) -> None:
    guard = start(tmp_path, sys.executable, "-c", f"raise SystemExit({code})")
    assert guard.wait(timeout=60) == code
    assert not (tmp_path / "scratch").exists()


def test_a_command_killed_by_a_signal_exits_as_a_shell_would_say(tmp_path: Path) -> None:
    guard = start(tmp_path, sys.executable, "-c", "import os; os.kill(os.getpid(), 9)")
    assert guard.wait(timeout=60) == 128 + signal.SIGKILL


def test_sigint_is_left_to_the_supervisor_and_ends_nothing(tmp_path: Path) -> None:
    # As Ray stops a job: it signals every process of the tree.
    guard = start(
        tmp_path, sys.executable, "-c", TREE.replace("signal.signal(signal.SIGTERM, signal.SIG_IGN)", ""), str(tmp_path)
    )
    pids, segments = tree_of(tmp_path, "child", "daemon")
    for pid in (guard.pid, *pids):
        os.kill(pid, signal.SIGINT)
    time.sleep(0.5)
    assert guard.poll() is None
    assert all(psutil.pid_exists(pid) for pid in pids)
    guard.terminate()
    assert guard.wait(timeout=60) == 128 + signal.SIGTERM
    assert_gone(pids, segments, tmp_path / "scratch")


def test_sigterm_ends_the_whole_tree_and_its_shared_memory(tmp_path: Path) -> None:
    guard = start(tmp_path, sys.executable, "-c", TREE, str(tmp_path))
    pids, segments = tree_of(tmp_path, "child", "daemon")
    assert all(path.exists() for path in segments)
    guard.terminate()
    assert guard.wait(timeout=60) == 128 + signal.SIGTERM
    assert_gone(pids, segments, tmp_path / "scratch")


def test_kill_9_of_the_parent_ends_the_whole_tree(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    launcher = (
        "import os, subprocess, sys, time; "
        "subprocess.Popen([sys.executable, '-m', 'deepicd.training.guard', str(os.getpid()), *sys.argv[1:]], "
        "start_new_session=True); time.sleep(120)"
    )
    command = [sys.executable, "-c", TREE, str(tmp_path)]
    parent = subprocess.Popen([sys.executable, "-c", launcher, str(tmp_path / "scratch"), "--", *command])
    pids, segments = tree_of(tmp_path, "child", "daemon")
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert_gone(pids, segments, tmp_path / "scratch")


def test_a_daemon_left_by_a_finished_command_is_ended(tmp_path: Path) -> None:
    leave = TREE.replace('hold("child")', 'while not (folder / "daemon").exists(): time.sleep(0.05)')
    guard = start(tmp_path, sys.executable, "-c", leave, str(tmp_path))
    pids, segments = tree_of(tmp_path, "daemon")
    assert guard.wait(timeout=60) == 0
    assert_gone(pids, segments, tmp_path / "scratch")


def test_a_named_semaphore_of_a_killed_process_is_removed(tmp_path: Path) -> None:
    # As vLLM's and torch's processes make them.
    hold = (
        "import multiprocessing, pathlib, signal, sys, time; "
        "semaphore = multiprocessing.get_context('spawn').Semaphore(); "
        "pathlib.Path(sys.argv[1], 'new').write_text('/dev/shm/sem.' + semaphore._semlock.name[1:]); "
        "pathlib.Path(sys.argv[1], 'new').rename(pathlib.Path(sys.argv[1], 'semaphore')); "
        "[process.kill() for process in __import__('psutil').Process().children()]; "
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(120)"
    )
    guard = start(tmp_path, sys.executable, "-c", hold, str(tmp_path))
    wait_for((tmp_path / "semaphore").exists)
    semaphore = Path((tmp_path / "semaphore").read_text())
    assert semaphore.exists()
    guard.terminate()
    assert guard.wait(timeout=60) == 128 + signal.SIGTERM
    assert not semaphore.exists()


def test_sockets_with_the_launchs_name_are_removed(tmp_path: Path) -> None:
    name = f"dicd-test-{os.getpid()}"
    (tmp_path / name).mkdir()
    own, other = (Path(f"/tmp/rl-colocate-zmq-01-{launch}-replica-0-rank-0.sock") for launch in (name, f"{name}x"))
    try:
        for path in (own, other):
            path.touch()
        command = [sys.executable, "-m", "deepicd.training.guard", str(os.getpid()), str(tmp_path / name), "--", "true"]
        assert subprocess.run(command, check=False).returncode == 0
        assert (own.exists(), other.exists()) == (False, True)
    finally:
        other.unlink()


def test_memory_of_other_processes_is_left_alone(tmp_path: Path) -> None:
    foreign = Path(f"/dev/shm/deepicd-test-foreign-{os.getpid()}")
    foreign.write_bytes(b"x")
    try:
        assert start(tmp_path, sys.executable, "-c", "pass").wait(timeout=60) == 0
        assert foreign.exists()
    finally:
        foreign.unlink()
