"""verl's checkpoint folders on the local disk: which stay, and what is done when the disk would fill."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepicd.artifacts.local_layout import checkpoint_folder, last_complete_step, marker_of

KEEP_VARIABLE = "DEEPICD_KEEP_CHECKPOINTS"
STORED_VARIABLE = "DEEPICD_CHECKPOINTS_STORED"
POLL_SECONDS = 1.0


@dataclass(frozen=True)
class LocalCheckpoints:
    """The `global_step_N` folders of one stage, and the tracker file that verl writes last."""

    folder: Path
    keep: int
    """How many of the newest stay."""
    stored: bool
    """A store is given: only what is durable there may be deleted (`global_step_N.durable`, which the uploader writes)."""

    @classmethod
    def from_environment(cls, folder: Path) -> LocalCheckpoints:
        """As the supervisor told this training process."""
        return cls(folder, int(os.environ[KEEP_VARIABLE]), os.environ.get(STORED_VARIABLE) == "1")

    def environment(self) -> dict[str, str]:
        """What `from_environment` reads."""
        return {KEEP_VARIABLE: str(self.keep), STORED_VARIABLE: str(int(self.stored))}

    @property
    def last_step(self) -> int:
        """Step of the newest complete checkpoint, 0 where there is none."""
        return last_complete_step(self.folder)

    def drop_old(self) -> None:
        """Delete all but the newest `keep`, as far as that is allowed; verl itself leaves their data.pt behind."""
        for step in self._steps()[: -self.keep]:
            if self._may_go(step):
                shutil.rmtree(self._of(step))

    def drop_incomplete(self) -> None:
        """Delete the folders newer than the last complete one: they were being written when training ended."""
        for step in self._steps():
            if step > self.last_step:
                shutil.rmtree(self._of(step))

    def make_room(
        self,
        on_wait: Callable[[bool], None],
        *,
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Before a checkpoint is written: see to it that another one of the newest one's size fits on the disk.

        The oldest that is durable in the store goes first. Where none is, but the store will have one soon, training waits
        (`on_wait(True)`, at the end `on_wait(False)`). The newest complete one stays: a restart on this machine needs it.
        """
        if not self.stored or not self.last_step:
            return
        wanted = sum(path.stat().st_size for path in self._of(self.last_step).rglob("*") if path.is_file())
        waiting = False
        while free(self.folder) < wanted * 1.05 and (older := [step for step in self._steps() if step < self.last_step]):
            durable = [step for step in older if self._may_go(step)]
            if durable:
                shutil.rmtree(self._of(durable[0]))
                continue
            if not waiting:
                waiting = True
                on_wait(True)
            sleep(POLL_SECONDS)
        if waiting:
            on_wait(False)

    def _steps(self) -> list[int]:
        found = (path.name.removeprefix("global_step_") for path in self.folder.glob("global_step_*") if path.is_dir())
        return sorted(int(step) for step in found if step.isdigit())

    def _of(self, step: int) -> Path:
        return checkpoint_folder(self.folder, step)

    def _may_go(self, step: int) -> bool:
        return not self.stored or marker_of(self._of(step)).exists()
