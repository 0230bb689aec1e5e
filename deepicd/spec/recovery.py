"""`spec.recovery`: when an attempt ends, and what happens next."""

from __future__ import annotations

from datetime import timedelta

from pydantic import Field

from deepicd.spec.base import Duration, SpecModel, TimeLimit


class RewardCollapseSpec(SpecModel):
    """When GRPO's reward counts as collapsed: its mean over the last `window` steps is more than `drop` below
    the highest mean of any earlier `window` steps.
    """

    window: int = Field(default=20, ge=2, le=10_000)
    """Number of steps over which the reward is averaged."""
    drop: float = Field(gt=0, le=1e6)
    """Largest tolerated loss of mean reward, in units of the reward."""


class RecoverySpec(SpecModel):
    """When an attempt ends, and what happens next. On one machine only `stallAfter`, `idleAfter` and `rewardCollapse` have an
    effect; the rest is for the cluster.
    """

    stall_after: TimeLimit = timedelta(minutes=30)
    """End the attempt when a stage makes no step for this long. Start-up counts; `prepare` does not."""
    idle_after: TimeLimit = timedelta(seconds=150)
    """End the attempt when a training stage that has made a step makes no other one for this long while all GPUs are idle
    and no checkpoint is being written. Raise it if your own reward terms take longer. It has no effect with several nodes or a
    judge."""
    reward_collapse: RewardCollapseSpec | None = None
    """End the run when GRPO's reward collapses; off by default."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """On a cluster: attempts before the run fails. Attempts ended by a disruption of the cluster (eviction, preemption,
    a lost node) or by `suspend` do not count."""
    backoff: Duration = timedelta(seconds=10)
    """On a cluster: wait before the second attempt. It doubles for each further attempt, up to 10 minutes, or to this value if
    it is longer."""
    deadline: TimeLimit | None = None
    """On a cluster: the run fails when its attempts have taken this long in total."""
    ttl_after_finished: Duration | None = None
    """On a cluster: delete the run and its objects this long after its end; artefacts in `storage` are kept."""
    grace_period: Duration = timedelta(minutes=10)
    """On a cluster: time for a stopping pod to save a checkpoint and upload it."""
