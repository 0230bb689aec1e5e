"""Facts about a step's completions that verl's metrics lack. Pure; verl's keys of completions are PROMPT_ROLLOUT_OUTPUT."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from deepicd.rewards.judge.second import SecondSums
from deepicd.training.step_metrics import JUDGES_AGREED, JUDGES_KAPPA, SECOND_JUDGE

EVICTED, SURPLUS = "training/filter_groups/evicted_samples", "training/filter_groups/discarded_surplus_samples"
"""verl's metrics: groups that a step dropped because they have no variance, or because it had more than it needed."""


def without_variance(keys: Sequence[str], rewards: Sequence[float], metrics: Mapping[str, float]) -> float:
    """The share, in [0, 1], of a step's groups whose completions all have the same reward, including dropped groups.

    Args:
        keys: verl's keys of the completions that the step trains on; not empty.
        rewards: their rewards, in the same order.
        metrics: the step's metrics so far.
    """
    groups: dict[str, set[float]] = {}
    for key, reward in zip(keys, rewards, strict=True):
        groups.setdefault(key.split("_")[0], set()).add(reward)
    dropped = metrics.get(EVICTED, 0)
    same = sum(len(found) == 1 for found in groups.values()) + dropped
    return same / (len(groups) + dropped + metrics.get(SURPLUS, 0))


def per_token(metrics: Mapping[str, float], scale: float) -> dict[str, float]:
    """Entropy and KL for each token, where verl has divided a completion's sum by `scale` instead of by its length."""
    names = ("actor/entropy", "actor/kl_loss")
    return {name: metrics[name] * scale / metrics["response_length/mean"] for name in names if name in metrics}


def of_judges(second: SecondSums) -> dict[str, float]:
    """The metrics of a validation with a second judge; NaN if a number is unknown."""
    return {SECOND_JUDGE: second.mean, JUDGES_AGREED: second.agreement.agreed, JUDGES_KAPPA: second.agreement.kappa}
