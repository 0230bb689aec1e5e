"""verl's checkpoint folders on the local disk: which to keep, and how to make room before the disk is full."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepicd.run_layout import CheckpointFolders, durable_mark

KEEP_VARIABLE = "DEEPICD_KEEP_CHECKPOINTS"
STORED_VARIABLE = "DEEPICD_CHECKPOINTS_STORED"
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class LocalCheckpoints:
    """The `global_step_N` folders of one stage, and the tracker file that verl writes last."""

    folders: CheckpointFolders
    keep: int
    """How many of the newest to keep."""
    stored: bool
    """A store is configured, so only checkpoints that are durable there may be deleted (`global_step_N.durable`, which the
    uploader writes)."""

    @classmethod
    def from_environment(cls, folders: CheckpointFolders) -> LocalCheckpoints:
        """The settings that the supervisor passed to this training process."""
        return cls(folders, int(os.environ[KEEP_VARIABLE]), os.environ.get(STORED_VARIABLE) == "1")

    def environment(self) -> dict[str, str]:
        """The settings that `from_environment` reads."""
        return {KEEP_VARIABLE: str(self.keep), STORED_VARIABLE: str(int(self.stored))}

    def drop_old(self) -> None:
        """Delete all except the newest `keep`, as far as that is allowed; verl itself would leave their data.pt behind."""
        for step in self.folders.steps()[: -self.keep]:
            if self._may_go(step):
                shutil.rmtree(self.folders.of(step))

    def drop_all(self) -> None:
        """Delete the checkpoints of a finished stage, as far as that is allowed."""
        for step in self.folders.steps():
            if self._may_go(step):
                shutil.rmtree(self.folders.of(step))

    def drop_incomplete(self) -> None:
        """Delete the folders newer than the last complete one: they were being written when training ended."""
        for step in self.folders.steps():
            if step > self.folders.last_step:
                shutil.rmtree(self.folders.of(step))

    def make_room(
        self,
        on_wait: Callable[[bool], None],
        *,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Before a checkpoint is written, make room on the disk for one as large as the newest.

        The oldest that is durable in the store is deleted first. If none is, but the store will have one soon, training waits
        (`on_wait(True)`, at the end `on_wait(False)`). The newest complete one is kept: a restart on this machine needs it.
        """
        if not self.stored or not self.folders.last_step:
            return
        wanted = sum(path.stat().st_size for path in self.folders.last.rglob("*") if path.is_file())
        waiting = False
        while free(self.folders.folder) < wanted * 1.05 and (older := self._older()):
            durable = [step for step in older if self._may_go(step)]
            if durable:
                shutil.rmtree(self.folders.of(durable[0]))
                continue
            if not waiting:
                waiting = True
                on_wait(True)
            sleep(POLL_SECONDS)
        if waiting:
            on_wait(False)

    def _older(self) -> list[int]:
        return [step for step in self.folders.steps() if step < self.folders.last_step]

    def _may_go(self, step: int) -> bool:
        return not self.stored or durable_mark(self.folders.of(step)).exists()
