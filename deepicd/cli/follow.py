"""Shows on stderr what the training stack writes to its logs, for `deepicd run --verbose`."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from deepicd.run_layout import RunLayout

_POLL_SECONDS = 0.5
_PIECE = 1 << 16


class FollowedLogs:
    """Copies what is added to the logs of a run's stages to stderr, until it is left."""

    def __init__(self, folder: Path) -> None:
        """`folder`: the run's."""
        self._layout = RunLayout(folder)
        self._read = {path: path.stat().st_size for path in self._paths()}
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="deepicd-logs", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ending.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._ending.wait(_POLL_SECONDS):
            self._copy()
        self._copy()

    def _copy(self) -> None:
        for path in self._paths():
            # `prepare` begins by deleting its folder.
            with suppress(FileNotFoundError), path.open("rb") as file:
                # A stage that starts from scratch writes its log again.
                file.seek(min(self._read.get(path, 0), path.stat().st_size))
                while piece := file.read(_PIECE):
                    sys.stderr.write(piece.decode(errors="replace"))
                self._read[path] = file.tell()
        sys.stderr.flush()

    def _paths(self) -> list[Path]:
        return sorted(self._layout.stages.glob("*/*.log"))
