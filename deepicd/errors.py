"""The errors a run can end with, each with its exit code.

A message is one line: what is wrong (field or file), what was found, the remedy. It never quotes note text.
"""

from __future__ import annotations


class DeepICDError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 70
    code = "Crashed"
    """Why, in one word: a `deepicd.spec.progress.FailureCode`."""
    at_once = False
    """Whether the process ends without Python's own clean-up, which takes up to a second on a busy machine."""


class UserError(DeepICDError):
    """The user must change something (spec, data, model folder, disk): trying again cannot help."""

    exit_code = 64
    code = "BadInput"


class NotANumberError(UserError):
    """Loss or reward is NaN or infinite."""

    code = "NotANumber"


class GpuMemoryError(UserError):
    """A GPU ran out of memory: the same settings would meet the same end."""

    code = "GpuOutOfMemory"


class RewardCollapsedError(UserError):
    """The reward collapsed by the rule of `recovery.rewardCollapse`."""

    code = "RewardCollapsed"


class CrashError(DeepICDError):
    """A process of the training stack failed: trying again may help."""


class RewardCodeError(CrashError):
    """The reward's code raised: a run is never scored by a reward that does not work."""

    code = "RewardCodeFailed"


class StallError(DeepICDError):
    """A stage made no step for `recovery.stallAfter`."""

    exit_code = 75
    code = "Stalled"


class StoreError(DeepICDError):
    """The store of artefacts cannot be reached or keeps failing: trying again later may help."""

    exit_code = 75
    code = "StoreUnreachable"


class TerminatedError(DeepICDError):
    """SIGTERM or Ctrl-C arrived; the newest checkpoint was saved where the stage could still do so."""

    exit_code = 143
    code = "Terminated"
