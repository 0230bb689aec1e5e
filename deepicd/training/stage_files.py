"""Files through which the supervisor and the training processes of a stage communicate; their folder is in the environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

from deepicd.errors import CrashError, DeepICDError, JudgeError, RewardCodeError, TeacherError, UserError
from deepicd.phases import Phase, PhaseFile
from deepicd.run_layout import StageLayout

FOLDER_VARIABLE = "DEEPICD_STAGE_FOLDER"
SPEC_VARIABLE = "DEEPICD_RUN_SPEC"

_REPORTED: dict[str, type[DeepICDError]] = {
    kind.code: kind for kind in (CrashError, JudgeError, RewardCodeError, TeacherError, UserError)
}


class StageFiles(StageLayout):
    """The folder of a running stage."""

    @classmethod
    def from_environment(cls) -> StageFiles:
        """The files of the stage that this process belongs to."""
        return cls(Path(os.environ[FOLDER_VARIABLE]))

    def begin_phases(self) -> None:
        """Start the record of a launch: its process begins with imports."""
        self.phases.unlink(missing_ok=True)
        PhaseFile(self.phases).enter(Phase.IMPORTS)

    def enter_loop(self, total_steps: int) -> None:
        """Tell the supervisor that training steps have begun, and how many there will be."""
        if not self.loop_entered.exists():
            self.loop_entered.write_text(str(total_steps))

    def leave_loop(self) -> None:
        """Tell the supervisor that all steps are made: the processes of the training stack end now."""
        self.loop_left.touch()

    @property
    def total_steps(self) -> int | None:
        """Total number of steps of the stage, once its loop is entered."""
        try:
            return int(self.loop_entered.read_text())
        except (FileNotFoundError, ValueError):
            return None

    def wait_for_disk(self, waiting: bool) -> None:
        """Tell the supervisor that training pauses until the store has a checkpoint that may be deleted, or that it
        continues.
        """
        if waiting:
            self.waiting_for_disk.touch()
        else:
            self.waiting_for_disk.unlink(missing_ok=True)

    def report_failure(self, error: DeepICDError) -> None:
        """Tell the supervisor why training cannot continue; the first report is kept."""
        try:
            with self.failure.open("x", encoding="utf-8") as file:
                json.dump({"message": str(error), "code": error.code}, file)
        except FileExistsError:
            pass

    def reported_failure(self) -> DeepICDError | None:
        """What a training process reported, or None."""
        try:
            content = json.loads(self.failure.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return None
        return _REPORTED[content["code"]](content["message"])
