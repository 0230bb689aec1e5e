"""Writes a set of files all together or not at all."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from deepicd.errors import UserError

PARTIAL = ".partial"


@contextmanager
def atomic_output(out: Path, last: str | None = None) -> Iterator[Path]:
    """Yield a working folder inside `out`. Its files move to `out` when the block ends without an error.

    The file called `last` marks completeness: it is removed from `out` first and moved last. Folders and files with a leading
    dot are scratch and are removed. An error leaves `out` as it was.

    Raises:
        UserError: `out` cannot be created or written, another process is writing it, or the disk is full.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out, os.O_RDONLY)
    except OSError as error:
        raise UserError(f"{out}: cannot be used as the output folder ({error.strerror}): choose another") from None
    work = out / PARTIAL
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out}: another process is writing this folder: wait for it or choose another") from None
        with disk_errors(out):
            shutil.rmtree(work, ignore_errors=True)  # left by a killed process
            work.mkdir()
            try:
                yield work
                _publish(work, out, last)
            finally:
                shutil.rmtree(work, ignore_errors=True)
    finally:
        os.close(handle)


@contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turn errors of a full or read-only disk into an error that names the folder.

    Raises:
        UserError: the block raised such an OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise UserError(f"{folder}: the disk is full: free space or choose another folder") from None
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise UserError(f"{folder}: may not be written: change its permissions or choose another folder") from None
        raise


def _publish(work: Path, out: Path, last: str | None) -> None:
    files: Sequence[Path] = sorted(path for path in work.rglob("*") if path.is_file())
    files = [path for path in files if not any(part.startswith(".") for part in path.relative_to(work).parts)]
    if last is not None:
        (out / last).unlink(missing_ok=True)
        files = sorted(files, key=lambda path: path.name == last)
    for path in files:
        target = out / path.relative_to(work)
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
