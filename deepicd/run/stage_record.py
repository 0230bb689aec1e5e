"""The folder of a run: one writer at a time, and a record of what each stage was made from."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from deepicd.artifacts.local_layout import TRACKER
from deepicd.errors import UserError


def digest(inputs: Mapping[str, Any]) -> str:
    """SHA-256 of a stage's inputs, independent of the order of keys."""
    return sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()


def first_difference(before: Any, after: Any, path: str = "") -> str:
    """Dotted name of the first field in which two trees of inputs differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            if before.get(key) != after.get(key):
                return first_difference(before.get(key), after.get(key), f"{path}.{key}" if path else key)
    return path


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the run's folder for this process; the lock ends with the process, however it ends.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / "lock").open("a+")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror}): choose another --dir") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"{folder}: another deepicd run is at work there (process {holder}): wait for it, or choose another --dir"
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


class StageRecord:
    """What a stage was made from (`inputs.json`), and that it is finished (`completed.json`, written last)."""

    def __init__(self, folder: Path, inputs: Mapping[str, Any]) -> None:
        self._name = folder.name
        self._folder = folder
        self._inputs = {**inputs}
        self._inputs_file = folder.parent / f"{folder.name}.inputs.json"
        self._completed_file = folder.parent / f"{folder.name}.completed.json"

    @property
    def digest(self) -> str:
        """Digest of the inputs: part of the inputs of the stages that build on this one."""
        return digest(self._inputs)

    def check(self) -> None:
        """Compare the inputs with those that the stage's work was made from, where there is any to lose.

        Raises:
            UserError: they differ: going on would mix two runs.
        """
        kept = self._completed_file.exists() or (self._folder / "checkpoints" / TRACKER).exists()
        if not kept or not self._inputs_file.exists():
            return
        before = json.loads(self._inputs_file.read_text())
        if before != self._inputs:
            raise UserError(
                f"{self._folder}: was made with other settings ({first_difference(before, self._inputs)} differs): "
                "give the run another name or --dir, undo the change, or delete that folder and its .json files"
            )

    def begin(self) -> None:
        """Note the inputs of a stage that is about to run or go on."""
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        _write_whole(self._inputs_file, self._inputs)

    def completed(self) -> Mapping[str, Any] | None:
        """The completed marker, or None."""
        try:
            marker: Mapping[str, Any] = json.loads(self._completed_file.read_text())
        except FileNotFoundError:
            return None
        return marker if marker["digest"] == self.digest else None

    def complete(self, seconds: float) -> None:
        """Mark the stage finished."""
        _write_whole(self._completed_file, {"digest": self.digest, "seconds": round(seconds, 1)})


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump(content, file, indent=2, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
