"""The lines that other processes add to a file."""

from __future__ import annotations

from pathlib import Path


class NewLines:
    """Reads the complete lines that were added to a file since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = 0

    def read(self) -> list[bytes]:
        """The lines, without their ends; none while the file is missing."""
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                content = file.read()
        except FileNotFoundError:
            return []
        complete = content[: content.rfind(b"\n") + 1]
        self._offset += len(complete)
        return complete.splitlines()
