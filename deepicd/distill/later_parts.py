"""Text that is only in the later part of each discharge summary, in a file, because it may not fit into memory.

The file contains note text.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

from deepicd.distill.founded import NOTHING_LATER, Later, later_part


def write(path: Path, parts: Iterable[tuple[str, str, str]]) -> None:
    """Write a new file from the id, the earlier and the later part of each summary.

    Raises:
        sqlite3.Error: the file cannot be written.
    """
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE later (id TEXT PRIMARY KEY, content TEXT) WITHOUT ROWID")
        connection.executemany(
            "INSERT OR REPLACE INTO later VALUES (?, ?)",
            ((identity, later_part(earlier, later).to_json()) for identity, earlier, later in parts if later),
        )


class LaterParts:
    """Reads such a file. A context; one thread may use it."""

    def __init__(self, path: Path | None) -> None:
        """`path`: None if the later parts are unknown."""
        self._connection = None if path is None else sqlite3.connect(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._connection is not None:
            self._connection.close()

    def of(self, identity: str) -> Later:
        """Text that is only in the later part of an admission's summary; empty if it is unknown."""
        if self._connection is None:
            return NOTHING_LATER
        row = self._connection.execute("SELECT content FROM later WHERE id = ?", (identity,)).fetchone()
        return NOTHING_LATER if row is None else Later.from_json(row[0])
