"""How a command handles an invalid input line: stop, or skip and report it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from enum import StrEnum
from types import TracebackType
from typing import Self

from deepicd.errors import UserError

ON_ERROR_HELP = "What to do with an invalid line: stop, or skip it and name it on stderr."


class OnError(StrEnum):
    """The values of --on-error."""

    STOP = "stop"
    SKIP = "skip"


class Skipped:
    """Names each skipped line on stderr, and their number at the end."""

    def __init__(self, on_error: OnError) -> None:
        self.on_fault: Callable[[UserError], None] | None = self._name if on_error is OnError.SKIP else None
        """Callback for a reader of lines; with None it raises the error."""
        self._number = 0

    def _name(self, error: UserError) -> None:
        self._number += 1
        sys.stderr.write(f"skipped: {error}\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._number:
            sys.stderr.write(f"{self._number} {'line' if self._number == 1 else 'lines'} skipped\n")
