"""`spec.recovery`: when an attempt is given up, and what follows."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from deepicd.spec.base import Duration, SpecModel


class RewardCollapseSpec(SpecModel):
    """When GRPO's reward counts as collapsed: its mean over the last `window` steps is more than `drop` below
    the highest mean of any earlier `window` steps.
    """

    window: int = Field(default=20, ge=2, le=10_000)
    """Steps that the reward is averaged over."""
    drop: float = Field(gt=0, le=1e6)
    """Largest loss of mean reward that is put up with, in units of the reward."""


class RecoverySpec(SpecModel):
    """When an attempt is given up, and what follows. On one machine `stallAfter` and `rewardCollapse` have an effect,
    the rest is for the cluster.
    """

    stall_after: Duration = timedelta(minutes=30)
    """End the attempt when a stage makes no step for this long; starting up counts too, `prepare` does not."""
    reward_collapse: RewardCollapseSpec | None = None
    """End the run when the reward of GRPO collapses; without it nobody watches."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """On a cluster: attempts before the run fails. One that ended by a disruption of the cluster (eviction, preemption,
    a lost node) or by `suspend` does not count."""
    backoff: Duration = timedelta(seconds=10)
    """On a cluster: wait before the second attempt; doubled for each further one, up to 10 minutes or this, if it is longer."""
    deadline: Duration | None = None
    """On a cluster: the run fails when its attempts together have taken this long."""
    ttl_after_finished: Duration | None = None
    """On a cluster: delete the run and all that was made for it this long after its end; what is in `storage` stays."""
    grace_period: Duration = timedelta(minutes=10)
    """On a cluster: time that a pod has, when it is stopped, to save a checkpoint and to upload it."""
