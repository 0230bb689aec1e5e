"""The end of a stage's log, in which the reason of its end is looked for."""

from __future__ import annotations

from pathlib import Path

_RECENT_LINES = 4000
"""Every rank may add hundreds of lines to the first one's."""
_PIECE = 8 * 2**20


class LogTail:
    """The lines that were added to a log since the last look."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._offset = path.stat().st_size if path.exists() else 0
        self.recent: list[str] = []
        """The last of them."""

    def new_lines(self) -> list[str]:
        """Complete new lines, of at most 8 MiB; a longer one in pieces."""
        with self.path.open("rb") as file:
            file.seek(self._offset)
            content = file.read(_PIECE)
        end = content.rfind(b"\n") + 1
        complete = content[: end or (len(content) if len(content) == _PIECE else 0)]
        self._offset += len(complete)
        lines = complete.decode(errors="replace").splitlines()
        self.recent = (self.recent + lines)[-_RECENT_LINES:]
        return lines

    def read_rest(self) -> None:
        """Read all that is left: a process may write much at its end."""
        while self.new_lines():
            pass
