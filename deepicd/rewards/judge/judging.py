"""The judge where a reward is only reported: used until it fails, because the reward can be reported without it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from deepicd.errors import DeepICDError
from deepicd.rewards.judge.grouped import judge_all
from deepicd.rewards.judge.judge import Judge
from deepicd.rewards.judge.rollout import Rollout
from deepicd.rewards.sample import Score
from deepicd.spec.judge import TERM
from deepicd.spec.reward import RewardSpec

REWARD, WITHOUT_JUDGE = "reward", "reward_without_judge"
"""Names of the reward in results: the run's reward, and the reward without its judge, if that was not available."""


class Judging:
    """Scores batches with the judge's term until the judge fails. A context; no event loop may run around it."""

    def __init__(self, reward: RewardSpec, folder: Path | None, *, opened_think: bool) -> None:
        """`folder`: of kept verdicts, see `Judge`."""
        self.failure: str | None = None
        """Why the judge is not available; None while it is."""
        self._reward, self._folder, self._opened_think = reward, folder, opened_think
        self._runner = asyncio.Runner()
        self._judge: Judge | None = None

    def __enter__(self) -> Self:
        if self._reward.judge is None:
            return self
        try:
            self._judge = Judge(self._reward.judge, self._folder)
            self._runner.run(self._open(self._judge))
        except DeepICDError as error:
            self.failure = str(error)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._judge is not None:
            self._runner.run(self._judge.__aexit__(None, None, None))
        self._runner.close()

    async def _open(self, judge: Judge) -> None:
        await judge.__aenter__()
        await judge.client.check()

    @property
    def name(self) -> str:
        """What the reward of all batches together is called."""
        return REWARD if self.failure is None else WITHOUT_JUDGE

    def score(self, groups: Sequence[Sequence[Rollout]]) -> list[list[Score]] | None:
        """The scores with the judge's term; None if the reward has no judge, or it is not available.

        Args:
            groups: completions by prompt, scored by the other terms.
        """
        chosen = self._reward.judge
        if self._judge is None or chosen is None or self.failure is not None:
            return None
        try:
            scored = self._runner.run(
                judge_all(
                    self._judge,
                    groups,
                    opened_think=self._opened_think,
                    weight=self._reward.weights[TERM],
                    only_where_outcome_varies=False,  # it makes gradients less noisy, and would hide what the judge says
                )
            )
        except DeepICDError as error:
            self.failure = str(error)
            return None
        return [[one.score for one in group] for group in scored]
