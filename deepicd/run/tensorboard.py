"""TensorBoard's event files of a run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepicd.errors import UserError


class EventFiles:
    """A folder for each stage, which TensorBoard shows as a run. Every launch writes its own file."""

    def __init__(self, folder: Path) -> None:
        """Raises: UserError: tensorboard is not installed."""
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ModuleNotFoundError:
            raise UserError("tracking.tensorboard: tensorboard is not installed: install deepicd[train]") from None
        self._folder, self._events, self._summaries, self._new = folder, event_pb2, summary_pb2, EventFileWriter
        self._writers: dict[str, Any] = {}

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Add values by name."""
        if stage not in self._writers:
            self._writers[stage] = self._new(str(self._folder / stage))
            # TensorBoard drops what an earlier launch wrote from this step on.
            start = self._events.SessionLog(status=self._events.SessionLog.START)
            self._add(stage, step, session_log=start)
        shown = [self._summaries.Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
        self._add(stage, step, summary=self._summaries.Summary(value=shown))
        self._writers[stage].flush()

    def close(self) -> None:
        """Write what is left."""
        for writer in self._writers.values():
            writer.close()

    def _add(self, stage: str, step: int, **content: Any) -> None:
        self._writers[stage].add_event(self._events.Event(wall_time=time.time(), step=step, **content))
