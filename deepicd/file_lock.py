"""A folder for one process at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from deepicd.errors import UserError


@contextmanager
def exclusive(lock: Path, taken: Callable[[str], str]) -> Iterator[None]:
    """Hold a lock file, which is created with its folder; the lock ends with the process, however it ends.

    Args:
        lock: the file, directly in the folder that it locks.
        taken: returns the error's text if another process, whose id is passed, holds the lock.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        file = lock.open("a+")
    except OSError as error:
        raise UserError(f"{lock.parent}: cannot be written ({error.strerror}): choose another --dir") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            raise UserError(f"{lock.parent}: {taken(file.read().strip() or 'unknown')}") from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
