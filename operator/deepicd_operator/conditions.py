"""Conditions of a run: a list with one entry per type. A transition is a change of status or reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from deepicd_operator.reasons import Reason

MAX_MESSAGE = 1024


class ConditionType(StrEnum):
    """Types of conditions. The last two are for tools that follow kstatus (Flux, Argo CD, `kubectl wait`)."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    CHECKPOINT_DURABLE = "CheckpointDurable"
    STEPS_STALLED = "StepsStalled"
    REWARD_COLLAPSED = "RewardCollapsed"
    JUDGE_DIVERGED = "JudgeDiverged"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    RECONCILING = "Reconciling"
    """The run is neither suspended nor over: kstatus reads it as in progress."""
    STALLED = "Stalled"
    """The run has failed or cannot begin: kstatus reads it as failed."""


class StatusModel(BaseModel):
    """A part of the status. Fields of a newer operator are ignored."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True, use_attribute_docstrings=True
    )


class Condition(StatusModel):
    """One condition, in Kubernetes' form."""

    type: str = Field(max_length=64)
    """Type of the condition."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(max_length=64)
    """Reason in one word; the documentation explains each."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """What was found, and the remedy."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    observed_generation: int | None = None
    """Generation of the spec that it refers to."""


Conditions = tuple[Condition, ...]


@dataclass(frozen=True)
class Finding:
    """New status, reason and message of one condition."""

    status: bool | None
    """None: unknown."""
    reason: Reason
    message: str


def finding(status: bool | None, reason: Reason, found: str = "") -> Finding:
    """Return a finding with the reason's standard message, including what was found."""
    return Finding(status, reason, reason.message(found))


def merged(before: Conditions, findings: Mapping[ConditionType, Finding | None], now: datetime, generation: int) -> Conditions:
    """Return the conditions with some set (None: removed). The transition time changes only with the status."""
    kept = {each.type: each for each in before}
    for kind, found in findings.items():
        old = kept.pop(kind, None)
        if found is None:
            continue
        value: Literal["True", "False", "Unknown"] = "Unknown" if found.status is None else "True" if found.status else "False"
        kept[kind] = Condition(
            type=kind,
            status=value,
            reason=found.reason,
            message=found.message[:MAX_MESSAGE],
            last_transition_time=old.last_transition_time if old is not None and old.status == value else now,
            observed_generation=generation,
        )
    order = {str(kind): number for number, kind in enumerate(ConditionType)}
    return tuple(sorted(kept.values(), key=lambda condition: order.get(condition.type, len(order))))
