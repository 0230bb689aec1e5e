"""GRPO's losses as verl's settings, and two things for which verl has no setting: the KL schedule and the length penalty."""

from __future__ import annotations

import math
from dataclasses import dataclass

from deepicd.errors import UserError
from deepicd.spec.training import GrpoSpec, OverlongPenaltySpec

MOST_DRAWN = 10
"""Batches of prompts that a step may draw to fill one whose groups all vary."""


@dataclass(frozen=True, slots=True)
class _Loss:
    mode: str = "vanilla"
    """verl's name of the loss."""
    aggregation: str = "token-mean"
    """How verl averages the loss over tokens."""
    clip: tuple[float, float] = (0.2, 0.2)
    """How far a ratio may fall below and rise above 1."""
    by_deviation: bool = True
    """Whether advantages are divided by the group's standard deviation."""
    by_limit: bool = False
    """Whether a completion's loss is divided by the token limit. verl's own default is the micro-batch's longest completion."""


_LOSSES = {
    "grpo": _Loss(),
    "dr_grpo": _Loss(aggregation="seq-mean-token-sum-norm", by_deviation=False, by_limit=True),
    "dapo": _Loss(clip=(0.2, 0.28)),
    "gspo": _Loss(mode="gspo", aggregation="seq-mean-token-mean", clip=(3e-4, 4e-4)),
}


def loss_settings(grpo: GrpoSpec) -> dict[str, str | int | float | bool | None]:
    """verl's settings for the loss of `stages.grpo`, by key."""
    loss, actor = _LOSSES[grpo.loss], "actor_rollout_ref.actor"
    low, high = loss.clip
    return {
        "algorithm.norm_adv_by_std_in_grpo": loss.by_deviation,
        "algorithm.filter_groups.enable": grpo.drop_groups_without_variance,
        f"{actor}.policy_loss.loss_mode": loss.mode,
        f"{actor}.loss_agg_mode": loss.aggregation,
        f"{actor}.loss_scale_factor": grpo.max_response_tokens if loss.by_limit else None,
        f"{actor}.clip_ratio_low": low,
        f"{actor}.clip_ratio_high": high if grpo.clip_ratio_high is None else grpo.clip_ratio_high,
    }


def kl_share(grpo: GrpoSpec, step: int, steps: int) -> float:
    """The share, in [0, 1], of the KL coefficients that applies at a step out of `steps`; the first step is 1."""
    if grpo.kl_schedule == "constant" or steps < 2:
        return 1.0
    return (1 + math.cos(math.pi * (step - 1) / (steps - 1))) / 2


def check_drawn(drawn: int, batch: int, step: int) -> None:
    """Check how many prompts a step draws to fill a batch in which every group varies.

    Raises:
        UserError: more than `MOST_DRAWN` batches.
    """
    if drawn > MOST_DRAWN * batch:
        raise UserError(
            f"stages.grpo.dropGroupsWithoutVariance: {MOST_DRAWN * batch} prompts of step {step} have too few "
            "groups with different rewards: set it to false, raise rollouts or temperature, or start from a better model"
        )


def overlong_penalty(rule: OverlongPenaltySpec | None, tokens: int, limit: int) -> float:
    """The amount to subtract from the reward of a completion with this many tokens, out of at most `limit`."""
    if rule is None:
        return 0.0
    return rule.penalty * max(0, tokens - (limit - rule.tokens)) / rule.tokens
