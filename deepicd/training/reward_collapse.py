"""Whether GRPO's reward has collapsed, according to `recovery.rewardCollapse`."""

from __future__ import annotations

from collections import deque

from deepicd.spec.recovery import RewardCollapseSpec


class RewardWatch:
    """Follows the mean reward of each step.

    Collapsed: mean of the last `window` rewards < (highest mean of `window` rewards in a row that ended at least
    `window` steps earlier) - `drop`. The two windows share no step, so a single bad step cannot be both.
    """

    def __init__(self, rule: RewardCollapseSpec) -> None:
        self._rule = rule
        self._last: deque[float] = deque(maxlen=rule.window)
        self._recent_means: deque[float] = deque(maxlen=rule.window)
        self._highest: float | None = None

    def step(self, reward: float) -> str | None:
        """Add a step's reward; returns a description if the reward has collapsed, otherwise None."""
        self._last.append(reward)
        if len(self._last) < self._rule.window:
            return None
        mean = sum(self._last) / len(self._last)
        if len(self._recent_means) == self._rule.window:
            earlier = self._recent_means[0]
            self._highest = earlier if self._highest is None else max(self._highest, earlier)
        self._recent_means.append(mean)
        if self._highest is None or mean >= self._highest - self._rule.drop:
            return None
        return f"mean reward of the last {self._rule.window} steps {mean:.3g}, highest before {self._highest:.3g}"
