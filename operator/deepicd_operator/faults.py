"""What a run says where an error of the operator's own keeps anything from being decided about it."""

from __future__ import annotations

from datetime import datetime

from deepicd_operator.conditions import ConditionType, put
from deepicd_operator.decision import Decision, RunEvent
from deepicd_operator.reasons import Reason
from deepicd_operator.resources import CannotPlanError
from deepicd_operator.status import RunStatus


def describe(error: Exception) -> str:
    """The error in one line: the field, where it is known, and the error's type."""
    return str(error) if isinstance(error, CannotPlanError) else f"{type(error).__name__}: {error}"


def with_fault(status: RunStatus, error: Exception, now: datetime, generation: int) -> Decision:
    """The status with the fault as a condition, and the event; no status where it says so already."""
    reason = Reason.CANNOT_PLAN
    message = reason.says(describe(error))
    conditions = put(status.conditions, ConditionType.ACCEPTED, False, reason, message, now, generation)
    changed = None if conditions == status.conditions else status.model_copy(update={"conditions": conditions})
    return Decision(changed, events=(RunEvent(reason, message, True, f"spec/{generation}/{reason}"),))
