"""The judge in verl's reward worker: opens it in the worker's event loop, and logs its verdicts' sums."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from deepicd.rewards import Score
from deepicd.rewards.judge import watch
from deepicd.rewards.judge.grouped import GroupedJudge
from deepicd.rewards.judge.judge import Judge
from deepicd.rewards.judge.roles import SECOND
from deepicd.rewards.judge.rollout import Rollout, Scored
from deepicd.run_layout import RunLayout
from deepicd.spec.judge import TERM
from deepicd.spec.run import RunSpec
from deepicd.training.stage_files import StageFiles


class RolloutJudge:
    """Scores rollouts with the judge's term; the second judge judges those of the validation split."""

    def __init__(self, spec: RunSpec, judge: Judge, second: Judge | None, files: StageFiles) -> None:
        chosen = spec.reward.judge
        assert chosen is not None  # noqa: S101 - `rollout_judge` makes it
        self._judge, self._judges, self._files = judge, [judge, *([] if second is None else [second])], files
        self._opened = False
        self._grouped = {
            split: GroupedJudge(
                judge,
                opened_think=spec.model.opened_think,
                weight=spec.reward.weights[TERM],
                only_where_outcome_varies=chosen.only_where_outcome_varies and split == "train",
                second=second if split == "validation" else None,
                on_scored=partial(self._note, split),
            )
            for split in ("train", "validation")
        }

    async def score(self, prompt: str, size: int, split: str, step: int, rollout: Rollout) -> Score:
        """The score of one of the `size` rollouts of a prompt, once all of them are judged.

        Raises:
            JudgeError, UserError: see `Judge.verdicts`.
        """
        if not self._opened:
            self._opened = True
            for judge in self._judges:
                await judge.__aenter__()  # stays open as long as the worker lives
        return await self._grouped[split].score(prompt, size, step, rollout)

    def _note(self, split: str, step: int, scored: Sequence[Scored]) -> None:
        sums = watch.StepSums()
        for one in scored:
            sums.add(one, self._judge.rubric.names)
        with self._files.judged.open("a") as file:
            file.write(watch.to_json(split, step, sums) + "\n")


def rollout_judge(spec: RunSpec, files: StageFiles) -> RolloutJudge | None:
    """The judge of a run's rollouts; None if it has none.

    Raises:
        UserError: see `Judge`.
    """
    judge = spec.reward.judge
    if judge is None:
        return None
    folder = RunLayout(files.folder.parent.parent).judge
    second = None if judge.second is None else Judge(judge, folder, pauses=True, role=SECOND)
    return RolloutJudge(spec, Judge(judge, folder, pauses=True), second, files)
