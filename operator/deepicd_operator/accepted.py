"""Whether a run's spec is accepted: by the schema, and by what whoever installed the operator allows."""

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
    """The run that the spec describes, and whether an attempt may begin from it."""

    run: DeepICDRun | None
    """None where the spec breaks the schema."""
    reason: Reason = Reason.VALID
    found: str = ""

    @property
    def is_valid(self) -> bool:
        """Whether nothing is wrong with the spec."""
        return self.reason is Reason.VALID

    @property
    def may_begin(self) -> bool:
        """Whether an attempt may begin: what the API server has refused is offered again in time."""
        return self.can_make and self.reason is not Reason.NOT_ALLOWED

    @property
    def can_make(self) -> bool:
        """Whether objects can be made from the spec: for an attempt at work also where the policy refuses it by now."""
        return self.run is not None and self.reason is not Reason.CANNOT_PLAN

    @property
    def suspended(self) -> bool:
        """Whether the run shall not be at work."""
        return self.run is not None and self.run.spec.suspend

    @property
    def recovery(self) -> RecoverySpec:
        """When an attempt is given up; the defaults where the spec cannot be read."""
        return self.run.spec.recovery if self.run is not None else RecoverySpec()


def accept(snapshot: Snapshot, settings: Settings) -> Accepted:
    """The run, or why it is not accepted.

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
    """The run where the operator itself failed on it: nothing is made, and what is there is followed by its spec."""
    run = None
    with suppress(Exception):  # the same one, where it is the spec that cannot be read
        run = parse(snapshot.content, snapshot.name)
    return Accepted(run, Reason.CANNOT_PLAN, describe(error))
