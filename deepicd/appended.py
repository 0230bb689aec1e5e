"""A file of lines that only grows, one writing call at a time: a killed process leaves at most one torn line, at its end."""

from __future__ import annotations

import os
from pathlib import Path


class AppendedFile:
    """Adds lines to a file, which only this user can read. One process writes."""

    def __init__(self, path: Path, *, torn: bool) -> None:
        """`torn`: whether the file ends without a line break. The file and its folder are created with the first line."""
        self.path = path
        self._torn = torn

    def add(self, lines: bytes) -> int:
        """Add whole lines, which end in a line break; returns where they start in the file, in bytes.

        Raises:
            OSError: the file cannot be written.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        left = (b"\n" if self._torn else b"") + lines
        self._torn = True
        file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while left:  # one call, unless the disk is full
                left = left[os.write(file, left) :]
            end = os.fstat(file).st_size
        finally:
            os.close(file)
        self._torn = False
        return end - len(lines)
