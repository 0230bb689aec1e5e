"""What a run says where an error of the operator's own keeps anything from being decided about it."""

from __future__ import annotations

from datetime import datetime

from deepicd_operator.conditions import ConditionType, merged, say
from deepicd_operator.reasons import Reason
from deepicd_operator.resources import CannotPlanError
from deepicd_operator.status import RunStatus


def describe(error: Exception) -> str:
    """The error in one line: the field, where it is known, and the error's type."""
    return str(error) if isinstance(error, CannotPlanError) else f"{type(error).__name__}: {error}"


def with_fault(status: RunStatus, error: Exception, now: datetime, generation: int) -> RunStatus:
    """The status with the fault as a condition."""
    said = {ConditionType.ACCEPTED: say(False, Reason.CANNOT_PLAN, describe(error))}
    conditions = merged(status.conditions, said, now, generation)
    return status.model_copy(update={"conditions": conditions, "observed_generation": generation})
