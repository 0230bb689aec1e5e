"""Owner of a training process tree. No process in it outlives this one, whichever dies first.

`python -m deepicd.training.guard PARENT SCRATCH -- COMMAND…` runs COMMAND for the process PARENT. When COMMAND ends,
when SIGTERM arrives, or when the parent dies (kill -9 included), every descendant is ended, the POSIX
shared memory that they had mapped is removed, and so is the folder SCRATCH. Ray's and vLLM's daemons do not escape:
orphans are handed to this process (child subreaper, prctl(2)). It exits with COMMAND's exit code.

It imports little more than the standard library, because the guard must start before, and be lighter than, what it guards.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

from deepicd.errors import ExitCode

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SHARED_MEMORY = "/dev/shm/"  # noqa: S108 - where POSIX shared memory lives
_SOCKETS = "/tmp"  # noqa: S108 - where verl makes its sockets
POLL_SECONDS = 0.2
SCAN_SECONDS = 5.0
GRACE_SECONDS = 3.0
PATIENCE_SECONDS = 60.0


class _Ended(Exception):
    """A signal asked the guard to end its tree."""


def _raise_ended(signum: int, frame: FrameType | None) -> None:
    raise _Ended


def descendants(root: int) -> list[int]:
    """Process ids of all living descendants of `root`, read from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                stat = Path(f"/proc/{entry}/stat").read_text()
                state, parent = stat[stat.rindex(")") + 2 :].split()[:2]
                if state != "Z":
                    children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        for child in children.get(queue.pop(), []):
            found.append(child)
            queue.append(child)
    return found


def shared_memory_of(pids: list[int]) -> set[str]:
    """Files under /dev/shm that the processes have mapped or open.

    They are found by inode, because glibc opens a named semaphore under another name, which is gone by then (sem_open(3)).
    """
    inodes: set[int] = set()
    for pid in pids:
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
                mapping, found, _ = line.partition(_SHARED_MEMORY)
                if found:
                    inodes.add(int(mapping.split()[4]))
        with contextlib.suppress(OSError):
            for descriptor in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    path = f"/proc/{pid}/fd/{descriptor}"
                    if os.readlink(path).startswith(_SHARED_MEMORY):
                        inodes.add(Path(path).stat().st_ino)
    with contextlib.suppress(OSError), os.scandir(_SHARED_MEMORY) as entries:
        return {entry.path for entry in entries if entry.inode() in inodes}
    return set()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _signal_all(pids: list[int], signum: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


def end_tree(root: int) -> None:
    """End every descendant of `root`: SIGTERM, then SIGKILL until none is left.

    It waits at most `PATIENCE_SECONDS` for a process that the kernel cannot end (a hung driver).
    """
    _signal_all(descendants(root), signal.SIGTERM)
    began = time.monotonic()
    while (living := descendants(root)) and time.monotonic() - began < PATIENCE_SECONDS:
        if time.monotonic() - began > GRACE_SECONDS:
            _signal_all(living, signal.SIGKILL)
        time.sleep(0.05)
        _reap()
    _reap()


def end_orphans(scratch: str) -> None:
    """Clean up after a killed guard: its processes, found by their TMPDIR, their shared memory and their files."""
    mark = b"TMPDIR=" + os.fsencode(scratch)
    segments: set[str] = set()
    began = time.monotonic()
    while (living := _with_variable(mark)) and time.monotonic() - began < PATIENCE_SECONDS:
        segments |= shared_memory_of(living)
        _signal_all(living, signal.SIGKILL)
        time.sleep(0.05)
    _remove(segments, scratch)


def _with_variable(mark: bytes) -> list[int]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            with contextlib.suppress(OSError):
                if mark in Path(f"/proc/{entry}/environ").read_bytes().split(b"\0"):
                    found.append(int(entry))
    return found


def _remove(segments: set[str], scratch: str) -> None:
    for segment in segments:
        with contextlib.suppress(OSError):
            os.unlink(segment)
    # verl's sockets, which have the launch's name (deepicd.training.weight_sockets).
    for socket in Path(_SOCKETS).glob(f"rl-colocate-zmq-*-{Path(scratch).name}-*"):
        with contextlib.suppress(OSError):
            socket.unlink()
    shutil.rmtree(scratch, ignore_errors=True)


def _wait(child: subprocess.Popen[bytes], segments: set[str]) -> int:
    next_scan = 0.0
    while (code := child.poll()) is None:
        if time.monotonic() >= next_scan:
            segments |= shared_memory_of(descendants(os.getpid()))
            next_scan = time.monotonic() + SCAN_SECONDS
        time.sleep(POLL_SECONDS)
    return code


def main(arguments: list[str]) -> int:
    """Run the command and clean up after it; see the module's docstring."""
    parent, scratch, separator, *command = arguments
    if separator != "--" or not command:
        raise SystemExit("usage: guard PARENT SCRATCH -- COMMAND…")
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGTERM, _raise_ended)
    # `deepicd run` handles Ctrl-C and Ray's stop signal; the tree inherits this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    segments: set[str] = set()
    code: int = ExitCode.TERMINATED
    try:
        if os.getppid() == int(parent):  # else the parent died before prctl
            code = _wait(subprocess.Popen(command), segments)
    except _Ended:
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        segments |= shared_memory_of(descendants(os.getpid()))
        end_tree(os.getpid())
        _remove(segments, scratch)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
