"""The judge in GRPO: completions come one by one; each gets its score once the verdicts of its whole group are there."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable, Sequence

from deepicd.rewards.judge.client import BATCH
from deepicd.rewards.judge.judge import IN_FLIGHT, Judge, Verdict
from deepicd.rewards.judge.question import is_right, question
from deepicd.rewards.judge.rollout import Rollout, Scored
from deepicd.rewards.judge.second import Opinion
from deepicd.rewards.judge.verdicts import Judged, counted, mean, with_judge
from deepicd.rewards.sample import Score
from deepicd.spec.judge import TERM


async def judge_all(
    judge: Judge,
    groups: Sequence[Sequence[Rollout]],
    *,
    opened_think: bool,
    weight: float,
    only_where_outcome_varies: bool,
    otherwise: float = math.nan,
    second: Judge | None = None,
) -> list[list[Scored]]:
    """The scores of whole groups, with the judge's term.

    A completion without reasoning has nothing to judge: its value is 0. One whose note is unknown has no verdict.

    Args:
        judge: in its context.
        groups: completions by prompt.
        opened_think: whether the prompt ended in an opened `<think>`.
        weight: of the term.
        only_where_outcome_varies: see `counted`.
        otherwise: what counts for a group without any verdict; by default the mean of all.
        second: a second judge, in its context, which is asked the same and counts in no score.

    Raises:
        JudgeError, UserError: see `Judge.verdicts`.
    """
    rollouts = [(place, rollout) for place, group in enumerate(groups) for rollout in group]
    asked = [question(judge.rubric, rollout.sample, opened_think=opened_think) for _, rollout in rollouts]
    questions = [one for one in asked if one is not None]
    given, others = await asyncio.gather(
        judge.verdicts(questions), second.verdicts(questions) if second is not None else _nothing()
    )
    verdicts, seconds = iter(given), iter(others)
    judged, answers = [], []
    for (place, rollout), one in zip(rollouts, asked, strict=True):
        verdict = next(verdicts) if one is not None else None
        unknown = math.nan if one is not None or rollout.sample.note is None else 0.0
        right = is_right(rollout.sample, opened_think=opened_think) if one is None else one.right
        judged.append(Judged(place, right, unknown if verdict is None else judge.rubric.score(verdict)))
        opinion = None
        if second is not None:
            other = next(seconds) if one is not None else None
            opinion = Opinion(unknown if other is None else second.rubric.score(other), other)
        answers.append((verdict, opinion))
    if math.isnan(otherwise):
        otherwise = mean([one.value for one in judged])
    values = counted(judged, only_where_outcome_varies=only_where_outcome_varies, otherwise=otherwise)
    scores = iter(
        Scored(with_judge(rollout.score, one.value, value, weight), one.right, *said)
        for (_, rollout), one, value, said in zip(rollouts, judged, values, answers, strict=True)
    )
    return [[next(scores) for _ in group] for group in groups]


async def _nothing() -> list[Verdict | None]:
    return []


class GroupedJudge:
    """Collects the rollouts of each prompt, and judges groups that are complete, many in one request."""

    def __init__(
        self,
        judge: Judge,
        *,
        opened_think: bool,
        weight: float,
        only_where_outcome_varies: bool,
        second: Judge | None = None,
        on_scored: Callable[[int, Sequence[Scored]], None] = lambda step, scored: None,
    ) -> None:
        """`second`: see `judge_all`; `on_scored` gets the step of a batch of groups, and their completions."""
        self._judge, self._second, self._opened_think, self._weight = judge, second, opened_think, weight
        self._only_where_outcome_varies, self._on_scored = only_where_outcome_varies, on_scored
        self._open: dict[str, list[tuple[Rollout, asyncio.Future[Score]]]] = {}
        self._complete: deque[tuple[int, list[tuple[Rollout, asyncio.Future[Score]]]]] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._seen: deque[float] = deque(maxlen=1024)

    async def score(self, prompt: str, size: int, step: int, rollout: Rollout) -> Score:
        """The score of one completion, once its group of `size` is judged.

        Raises:
            JudgeError, UserError: see `Judge.verdicts`.
        """
        future: asyncio.Future[Score] = asyncio.get_running_loop().create_future()
        group = self._open.setdefault(prompt, [])
        group.append((rollout, future))
        if len(group) >= size:
            self._complete.append((step, self._open.pop(prompt)))
            if len(self._working) < IN_FLIGHT:
                task = asyncio.create_task(self._work())
                self._working.add(task)
                task.add_done_callback(self._working.discard)
        return await future

    async def _work(self) -> None:
        await asyncio.sleep(0)  # groups that end together are judged together
        while self._complete:
            step, first = self._complete.popleft()
            groups = [first]
            while (
                self._complete and sum(map(len, groups)) + len(self._complete[0][1]) <= BATCH and self._complete[0][0] == step
            ):
                groups.append(self._complete.popleft()[1])
            try:
                scored = await judge_all(
                    self._judge,
                    [[rollout for rollout, _ in group] for group in groups],
                    opened_think=self._opened_think,
                    weight=self._weight,
                    only_where_outcome_varies=self._only_where_outcome_varies,
                    otherwise=mean(self._seen),
                    second=self._second,
                )
            except Exception as error:
                for group in groups:
                    for _, future in group:
                        if not future.done():
                            future.set_exception(error)
                continue
            every = [one for group in scored for one in group]
            self._seen.extend(one.score.terms[TERM] for one in every)
            self._on_scored(step, every)
            for (_, future), one in zip((member for group in groups for member in group), every, strict=True):
                if not future.done():
                    future.set_result(one.score)
