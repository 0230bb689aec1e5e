"""The teacher's answers by the digest of the question, so that no answer is paid for twice. They quote notes.

A file of JSON lines that only grows: `{"key": …, "text": …, "truncated": …, "prompt_tokens": …, "completion_tokens": …}`, one
write call per answer. Only the offsets of the lines are in memory. A torn line is skipped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from deepicd.appended import AppendedFile

FILE = "answers.jsonl"
_KEY = re.compile(rb'\{"key": "([0-9a-f]{64})"')


@dataclass(frozen=True, slots=True)
class Given:
    """An answer as it arrived."""

    text: str
    truncated: bool
    """Whether it was cut off at the token limit."""
    prompt_tokens: int
    completion_tokens: int


class Answers:
    """The answers in a folder."""

    def __init__(self, folder: Path) -> None:
        """Read where the answers are; the folder is created with the first one."""
        path = folder / FILE
        self._places: dict[str, tuple[int, int]] = {}
        torn = False
        for start, line in _lines(path):
            torn = not line.endswith(b"\n")
            key = _KEY.match(line)
            if key is not None and not torn and line.endswith(b"}\n"):
                self._places[key[1].decode()] = (start, len(line))
        self._file = AppendedFile(path, torn=torn)

    def __len__(self) -> int:
        return len(self._places)

    def get(self, key: str) -> Given | None:
        """The answer to a question; None if it is unknown or its line is damaged."""
        place = self._places.get(key)
        if place is None:
            return None
        start, length = place
        with self._file.path.open("rb") as file:
            line = os.pread(file.fileno(), length, start)
        try:
            found = json.loads(line)
            del found["key"]
            return Given(**found)
        except (ValueError, KeyError, TypeError):
            return None

    def add(self, key: str, given: Given) -> None:
        """Keep an answer.

        Raises:
            OSError: the file cannot be written.
        """
        line = json.dumps({"key": key, **asdict(given)}).encode() + b"\n"
        self._places[key] = (self._file.add(line), len(line))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Each line with its offset; none if there is no file."""
    if not path.exists():
        return
    start = 0
    with path.open("rb") as file:
        for line in file:
            yield start, line
            start += len(line)
