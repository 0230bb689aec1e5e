"""Whether a training stage's checkpoints fit on the disk, before it starts."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from deepicd.errors import UserError
from deepicd.spec import environment
from deepicd.spec.compute import ScratchSpec
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.footprint import GB


def check_room(checkpoints: LocalCheckpoints, checkpoint: int, exported: int, room: int, writer: str = "the stage") -> None:
    """Refuse a stage whose checkpoints would fill the disk.

    Args:
        checkpoints: of the stage, with how many are kept.
        checkpoint: bytes of one.
        exported: bytes of the final model.
        room: bytes that the stage may still write.
        writer: what messages call it.

    Raises:
        UserError: there is less room than the checkpoints and the final model need.
    """
    # With a store, training waits until an older one is durable there, and deletes it.
    kept = 1 if checkpoints.stored else checkpoints.keep
    present = _size(checkpoints.folders.folder)
    need = (kept + 1) * checkpoint + exported
    if room < need - present:
        raise UserError(
            f"{checkpoints.folders.folder}: {room / GB:.1f} GB are free, and {writer} writes {(need - present) / GB:.1f} GB, "
            f"with checkpoints of {checkpoint / GB:.1f} GB each: free space or lower keepCheckpoints; "
            "on a cluster raise compute.scratch.size"
        )


def room_for(folder: Path, scratch: ScratchSpec, variables: Mapping[str, str] = os.environ) -> int:
    """Bytes that may still be written below an existing folder. In a pod, the limit of an emptyDir counts as the disk's."""
    free = shutil.disk_usage(folder).free
    if environment.RUN_UID not in variables or scratch.storage_class is not None:
        return free
    return min(free, scratch.size - _size(Path(environment.RUN_FOLDER).parent))


def _size(folder: Path) -> int:
    """Bytes of a folder; a file with several links counts once."""
    sizes: dict[tuple[int, int], int] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                found = (Path(place) / name).lstat()
            except FileNotFoundError:  # the uploader's, for a moment
                continue
            sizes[found.st_dev, found.st_ino] = found.st_blocks * 512
    return sum(sizes.values())
