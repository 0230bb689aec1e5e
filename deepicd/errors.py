"""Exit codes, and the errors a run can end with, each with its code.

A message is one line: what is wrong (field or file), what was found, the remedy. It never quotes note text.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of our processes: 0, those of sysexits.h, or 128 plus the signal's number, as in a shell, after a signal."""

    DONE = 0
    USER_ERROR = 64  # the user must change something
    CRASHED = 70  # the training stack failed: trying again may help
    TRY_LATER = 75  # something that the process needs did not answer in time
    KILLED = 137  # SIGKILL
    BROKEN_PIPE = 141  # SIGPIPE: the reader of the output has gone
    TERMINATED = 143  # SIGTERM


class DeepICDError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code: int = ExitCode.CRASHED
    code = "Crashed"
    """The reason, in one word: a `deepicd.spec.progress.FailureCode`."""
    at_once = False
    """Whether the process ends without Python's own clean-up, which takes up to a second on a busy machine."""


class UserError(DeepICDError):
    """The user must change something (spec, data, model folder, disk): trying again cannot help."""

    exit_code = ExitCode.USER_ERROR
    code = "BadInput"

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems
        """One line each; a terminal shows them below each other."""


class NotANumberError(UserError):
    """Loss or reward is NaN or infinite."""

    code = "NotANumber"


class GpuMemoryError(UserError):
    """A GPU ran out of memory: the same settings would fail again."""

    code = "GpuOutOfMemory"


class RewardCollapsedError(UserError):
    """The reward collapsed by the rule of `recovery.rewardCollapse`."""

    code = "RewardCollapsed"


class CrashError(DeepICDError):
    """A process of the training stack failed: trying again may help."""


class HostMemoryError(CrashError):
    """The machine ran out of memory: other processes may have ended by the next attempt, or it may get more."""

    code = "OutOfMemory"


class RewardCodeError(CrashError):
    """The reward's code raised: a run is never scored by a reward that does not work."""

    code = "RewardCodeFailed"


class StallError(DeepICDError):
    """A stage made no step for `recovery.stallAfter`, or for `recovery.idleAfter` on idle GPUs."""

    exit_code = ExitCode.TRY_LATER
    code = "Stalled"


class StoreError(DeepICDError):
    """The store of artefacts cannot be reached or keeps failing: trying again later may help."""

    exit_code = ExitCode.TRY_LATER
    code = "StoreUnreachable"


class JudgeError(DeepICDError):
    """The reward's judge cannot be reached, or too many of its verdicts are missing: trying again later may help."""

    exit_code = ExitCode.TRY_LATER
    code = "JudgeUnreachable"


class TeacherError(DeepICDError):
    """The teacher of `stages.distill` cannot be reached, or gives no answers: trying again later may help."""

    exit_code = ExitCode.TRY_LATER
    code = "TeacherUnreachable"


class TerminatedError(DeepICDError):
    """SIGTERM or Ctrl-C arrived; a checkpoint was saved if the stage could still do so."""

    exit_code = ExitCode.TERMINATED
    code = "Terminated"
