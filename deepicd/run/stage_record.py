"""A run's folder: one writer at a time, and a record of the inputs of each stage."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from deepicd import atomic
from deepicd.errors import UserError
from deepicd.file_lock import exclusive
from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.changes import decisive
from deepicd.spec.run import RunSpec


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
    """Lock the run's folder for this process; the lock ends with the process, however it ends.

    Raises:
        UserError: another process holds it, or the folder cannot be written.
    """
    with exclusive(
        RunLayout(folder).lock,
        lambda holder: f"another deepicd run uses it (process {holder}): wait for it, or choose another --dir",
    ):
        yield


class StageRecord:
    """The inputs of a stage (`inputs.json`), and its completion (`completed.json`, written last)."""

    def __init__(self, place: StageLayout, inputs: Mapping[str, Any]) -> None:
        self._place = place
        before = self._before()
        # Another version may have recorded what may change, or not have known an input: its work still counts.
        known = {name: value for name, value in inputs.items() if before is not None and name in before}
        same = before is not None and decisive(RunSpec, before) == decisive(RunSpec, known)
        self._inputs = before if before is not None and same else {**inputs}

    @property
    def digest(self) -> str:
        """Digest of the inputs: part of the inputs of the stages that build on this one."""
        return digest(self._inputs)

    def check(self) -> None:
        """Compare the inputs with those of the stage's existing work, if there is any to lose.

        Raises:
            UserError: they differ: continuing would mix two runs.
        """
        kept = self._place.completed.exists() or self._place.checkpoints.tracker.exists()
        before = self._before()
        if kept and before is not None and before != self._inputs:
            differs = first_difference(decisive(RunSpec, before), decisive(RunSpec, self._inputs))
            raise UserError(
                f"{self._place.folder}: was made with other settings ({differs} differs): "
                "give the run another name or --dir, undo the change, or delete that folder and its .json files"
            )

    def _before(self) -> dict[str, Any] | None:
        """The inputs that were recorded last."""
        return _read(self._place.inputs)

    def begin(self) -> None:
        """Record the inputs of a stage that is about to run or resume."""
        _write_whole(self._place.inputs, self._inputs)

    def completed(self) -> Mapping[str, Any] | None:
        """The completed marker, or None.

        Raises:
            UserError: it is damaged.
        """
        marker = _read(self._place.completed, "digest", "seconds")
        return marker if marker is not None and marker["digest"] == self.digest else None

    def complete(self, seconds: float) -> None:
        """Mark the stage finished."""
        _write_whole(self._place.completed, {"digest": self.digest, "seconds": round(seconds, 1)})


def seconds(completed: Path) -> float | None:
    """How long a finished stage took, by its completed marker; None if it is not finished.

    Raises:
        UserError: the marker is damaged.
    """
    marker = _read(completed, "digest", "seconds")
    return None if marker is None else float(marker["seconds"])


def _read(path: Path, *fields: str) -> dict[str, Any] | None:
    """A record with these fields; None without the file."""
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        found = None
    if not isinstance(found, dict) or not set(fields) <= set(found):
        raise UserError(f"{path}: is damaged: delete it, then run again")
    return found


def _write_whole(path: Path, content: Mapping[str, Any]) -> None:
    atomic.write(path, json.dumps(content, indent=2, sort_keys=True))
