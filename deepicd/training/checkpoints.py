"""verl's checkpoint folders on the local disk."""

from __future__ import annotations

import shutil
from pathlib import Path

TRACKER = "latest_checkpointed_iteration.txt"


def drop_old_checkpoints(folder: Path, keep: int) -> None:
    """Delete all but the `keep` newest `global_step_N` folders; verl itself leaves their data.pt behind."""
    steps = sorted(int(path.name.removeprefix("global_step_")) for path in folder.glob("global_step_*"))
    for step in steps[:-keep]:
        shutil.rmtree(folder / f"global_step_{step}")


def drop_incomplete_checkpoints(folder: Path) -> None:
    """Delete `global_step_N` folders newer than the last complete one: they were being written when training ended."""
    try:
        last = int((folder / TRACKER).read_text())
    except (FileNotFoundError, ValueError):
        last = 0
    for path in folder.glob("global_step_*"):
        if int(path.name.removeprefix("global_step_")) > last:
            shutil.rmtree(path)
