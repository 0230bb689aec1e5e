"""Conditions of a run: a list with one entry per type; a transition is a change of status or reason."""

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
    """What is known about a run. The last two are for tools that follow kstatus (Flux, Argo CD, `kubectl wait`)."""

    ACCEPTED = "Accepted"
    SCHEDULED = "Scheduled"
    RUNNING = "Running"
    CHECKPOINT_DURABLE = "CheckpointDurable"
    STEPS_STALLED = "StepsStalled"
    REWARD_COLLAPSED = "RewardCollapsed"
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
    """What it is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: str = Field(max_length=64)
    """One word, documented."""
    message: str = Field(default="", max_length=MAX_MESSAGE)
    """What was found, and the remedy."""
    last_transition_time: AwareDatetime
    """When `status` last changed."""
    observed_generation: int | None = None
    """Generation of the spec that it was found for."""


Conditions = tuple[Condition, ...]


@dataclass(frozen=True)
class Said:
    """What one condition is to say."""

    status: bool | None
    """None: unknown."""
    reason: Reason
    message: str


def say(status: bool | None, reason: Reason, found: str = "") -> Said:
    """A condition whose message is the reason's, with what was found."""
    return Said(status, reason, reason.says(found))


def merged(before: Conditions, said: Mapping[ConditionType, Said | None], now: datetime, generation: int) -> Conditions:
    """The conditions with some set (None: taken away); a transition's time moves only when the status changes."""
    kept = {each.type: each for each in before}
    for kind, what in said.items():
        old = kept.pop(kind, None)
        if what is None:
            continue
        value: Literal["True", "False", "Unknown"] = "Unknown" if what.status is None else "True" if what.status else "False"
        kept[kind] = Condition(
            type=kind,
            status=value,
            reason=what.reason,
            message=what.message[:MAX_MESSAGE],
            last_transition_time=old.last_transition_time if old is not None and old.status == value else now,
            observed_generation=generation,
        )
    order = {str(kind): number for number, kind in enumerate(ConditionType)}
    return tuple(sorted(kept.values(), key=lambda condition: order.get(condition.type, len(order))))
