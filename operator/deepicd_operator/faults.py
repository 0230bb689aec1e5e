"""How a run's status shows an error in the operator itself."""

from __future__ import annotations

from datetime import datetime

from deepicd_operator.conditions import ConditionType, finding, merged
from deepicd_operator.reasons import Reason
from deepicd_operator.resources import CannotPlanError
from deepicd_operator.status import RunStatus


def describe(error: Exception) -> str:
    """Return the error in one line: the field, if known, and the error's type."""
    return str(error) if isinstance(error, CannotPlanError) else f"{type(error).__name__}: {error}"


def with_fault(status: RunStatus, error: Exception, now: datetime, generation: int) -> RunStatus:
    """Return the status with the fault as a condition."""
    findings = {ConditionType.ACCEPTED: finding(False, Reason.CANNOT_PLAN, describe(error))}
    conditions = merged(status.conditions, findings, now, generation)
    return status.model_copy(update={"conditions": conditions, "observed_generation": generation})
