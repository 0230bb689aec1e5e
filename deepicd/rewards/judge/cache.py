"""Verdicts by the digest of the question. Holds no text of a note or completion.

A file of JSON lines that only grows: `{"key": …, "answers": "yny…"}`, in the order of the rubric's criteria. A line is written
with one call, so a killed process leaves at most one torn line at the end, which is skipped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

FILE = "verdicts.jsonl"
_LINE = re.compile(r'\{"key": "([0-9a-f]{64})", "answers": "([yn]+)"\}')


class Cache:
    """The verdicts of a folder, in memory and on disk. Without a folder only in memory."""

    def __init__(self, folder: Path | None) -> None:
        """Read what is there; the folder is created with the first verdict."""
        self._path = None if folder is None else folder / FILE
        self._known: dict[str, str] = {}
        self._torn = False
        if self._path is not None and self._path.exists():
            content = self._path.read_text(encoding="utf-8", errors="replace")
            self._known = dict(_LINE.findall(content))
            self._torn = not content.endswith("\n")

    def __len__(self) -> int:
        return len(self._known)

    def get(self, key: str, criteria: int) -> tuple[bool, ...] | None:
        """The verdict of a question; None if it is unknown, or does not have this number of answers."""
        found = self._known.get(key)
        return None if found is None or len(found) != criteria else tuple(answer == "y" for answer in found)

    def add(self, verdicts: Mapping[str, tuple[bool, ...]]) -> None:
        """Keep verdicts.

        Raises:
            OSError: the file cannot be written.
        """
        new = {key: "".join("y" if answer else "n" for answer in verdict) for key, verdict in verdicts.items()}
        self._known |= new
        if self._path is None or not new:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(f"{json.dumps({'key': key, 'answers': answers})}\n" for key, answers in new.items())
        left = (("\n" if self._torn else "") + lines).encode()
        self._torn = True
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while left:  # one call, unless the disk is full
                left = left[os.write(file, left) :]
        finally:
            os.close(file)
        self._torn = False
