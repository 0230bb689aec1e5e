"""What the tests' S3 server leaves behind when they are killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.storage.seaweed import Seaweed

START = """
import pathlib, runpy, sys, time
server = runpy.run_path(sys.argv[1])["Seaweed"](pathlib.Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""
MODULE = Path(__file__).with_name("seaweed.py")


def test_a_killed_test_run_leaves_neither_the_server_nor_an_open_pipe(tmp_path: Path) -> None:
    command = [sys.executable, "-c", START, str(MODULE), str(tmp_path / "server")]
    starter = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert starter.stdin is not None
    assert starter.stdout is not None
    server = psutil.Process(int(starter.stdout.readline()))
    ours = {os.readlink(f"/proc/self/fd/{pipe.fileno()}") for pipe in (starter.stdin, starter.stdout)}
    held = {os.readlink(path) for path in Path(f"/proc/{server.pid}/fd").iterdir()}
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 10
    while server.is_running() and server.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.05)
    lives = server.is_running() and server.status() != psutil.STATUS_ZOMBIE
    if lives:
        server.kill()
    assert not lives, "the server has outlived its starter"
    assert held & ours == set(), "the server holds pipes of its starter"


def test_a_server_that_does_not_start_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = Seaweed(tmp_path / "server")
    found: list[psutil.Process] = []

    def fail() -> None:
        found.append(psutil.Process(server.pid))
        raise RuntimeError("not ready")

    monkeypatch.setattr(server, "_wait_until_ready", fail)
    with pytest.raises(RuntimeError, match="not ready"):
        server.start()
    assert not found[0].is_running()
