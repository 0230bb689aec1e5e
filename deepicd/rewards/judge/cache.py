"""Verdicts by the digest of the question. Holds no text of a note or completion.

A file of JSON lines that only grows: `{"key": …, "answers": "yny…"}`, in the order of the rubric's criteria. A torn line is
skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path

from deepicd.appended import AppendedFile

FILE = "verdicts.jsonl"
_LINE = re.compile(r'\{"key": "([0-9a-f]{64})", "answers": "([yn]+)"\}')


class Cache:
    """The verdicts of a folder, in memory and on disk. Without a folder only in memory."""

    def __init__(self, folder: Path | None) -> None:
        """Read what is there; the folder is created with the first verdict."""
        self._known: dict[str, str] = {}
        self._file: AppendedFile | None = None
        if folder is None:
            return
        path = folder / FILE
        content = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        self._known = dict(_LINE.findall(content))
        self._file = AppendedFile(path, torn=bool(content) and not content.endswith("\n"))

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
        if self._file is not None and new:
            lines = "".join(f"{json.dumps({'key': key, 'answers': answers})}\n" for key, answers in new.items())
            self._file.add(lines.encode())
