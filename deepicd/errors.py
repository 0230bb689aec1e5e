"""The errors a run can end with, each with its exit code.

A message is one line: what is wrong (field or file), what was found, the remedy. It never quotes note text.
"""

from __future__ import annotations


class DeepICDError(Exception):
    """Base of all errors that are shown as one line instead of a traceback."""

    exit_code = 70


class UserError(DeepICDError):
    """The user must change something (spec, data, model folder, disk): trying again cannot help."""

    exit_code = 64


class CrashError(DeepICDError):
    """A process of the training stack failed: trying again may help."""

    exit_code = 70


class StallError(DeepICDError):
    """A stage made no step for `recovery.stallAfter`."""

    exit_code = 75


class StoreError(DeepICDError):
    """The store of artefacts cannot be reached or keeps failing: trying again later may help."""

    exit_code = 75


class TerminatedError(DeepICDError):
    """SIGTERM or Ctrl-C arrived; the newest checkpoint was saved where the stage could still do so."""

    exit_code = 143
