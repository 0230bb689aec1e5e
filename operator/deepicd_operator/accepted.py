"""Whether a run's spec is accepted: by the schema, and by the operator's settings."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from deepicd.errors import UserError
from deepicd.spec.load import UnknownFieldError, parse
from deepicd.spec.recovery import RecoverySpec
from deepicd.spec.run import DeepICDRun
from deepicd_operator.faults import describe
from deepicd_operator.policy import verdict
from deepicd_operator.reasons import Reason
from deepicd_operator.settings import Settings
from deepicd_operator.snapshot import Snapshot


@dataclass(frozen=True)
class Accepted:
    """The run that the spec describes, and whether an attempt may start from it."""

    run: DeepICDRun | None
    """None if the spec breaks the schema."""
    reason: Reason = Reason.VALID
    found: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong with the spec."""
        return self.reason is Reason.VALID

    @property
    def may_start(self) -> bool:
        """Whether an attempt may start. Objects that the API server refused are retried later."""
        return self.can_create and self.reason is not Reason.NOT_ALLOWED

    @property
    def can_create(self) -> bool:
        """Whether objects can be built from the spec. A running attempt gets them even if the policy now refuses it."""
        return self.run is not None and self.reason is not Reason.CANNOT_PLAN

    @property
    def suspended(self) -> bool:
        """Whether the user suspended the run."""
        return self.run is not None and self.run.spec.suspend

    @property
    def recovery(self) -> RecoverySpec:
        """The rules for giving up an attempt; the defaults if the spec cannot be read."""
        return self.run.spec.recovery if self.run is not None else RecoverySpec()


def accept(snapshot: Snapshot, settings: Settings) -> Accepted:
    """Return the run, or why it is not accepted.

    Raises:
        CannotPlanError: the pod that the policy judges cannot be built.
    """
    try:
        run = parse(snapshot.content, snapshot.name)
    except UserError as error:
        found = str(error).removeprefix(f"{snapshot.name}: ")
        return Accepted(None, Reason.UNKNOWN_FIELD if isinstance(error, UnknownFieldError) else Reason.INVALID_SPEC, found)
    if refused := "; ".join(verdict(run, settings)):
        return Accepted(run, Reason.NOT_ALLOWED, refused)
    if snapshot.refusal is not None and snapshot.refusal.reason is Reason.INVALID_SPEC:
        return Accepted(run, Reason.INVALID_SPEC, snapshot.refusal.message)
    return Accepted(run)


def failed_on(snapshot: Snapshot, error: Exception) -> Accepted:
    """Return the result for a run on which the operator failed: it creates nothing, but still follows existing objects."""
    run = None
    with suppress(Exception):  # the same error, if it is the spec that cannot be read
        run = parse(snapshot.content, snapshot.name)
    return Accepted(run, Reason.CANNOT_PLAN, describe(error))
