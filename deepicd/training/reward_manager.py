"""verl's reward manager for DeepICD: scores whole batches, and lets an error of the reward code end the run."""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from deepicd import completion, prompt
from deepicd.data.example_tokens import read_completion, stop_tokens
from deepicd.data.rows import is_local
from deepicd.errors import DeepICDError, RewardCodeError, UserError
from deepicd.rewards import Sample, Score, cohort_words, make_scorer
from deepicd.rewards.judge.rollout import Rollout
from deepicd.spec.load import load
from deepicd.training.losses import overlong_penalty
from deepicd.training.rollout_judge import RolloutJudge, rollout_judge
from deepicd.training.stage_files import SPEC_VARIABLE, StageFiles

GATHER_SECONDS = 0.02
"""How long a completion waits for others, to be scored together; rollouts of a group end close together."""


class RewardManager(RewardManagerBase):  # type: ignore[misc]
    """Gathers the completions that verl passes on one by one, and scores each batch in one call."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        spec = load(Path(os.environ[SPEC_VARIABLE])).spec
        self._prompt = prompt.of(spec.model.prompt)
        self._files = StageFiles.from_environment()
        cohort = cohort_words.of_run(self._files.folder.parent)
        self._opened_think = spec.model.opened_think
        self._score = make_scorer(spec.reward, opened_think=self._opened_think, cohort=cohort)
        self._overlong = None if spec.stages.grpo is None else spec.stages.grpo.overlong_penalty
        self._stops = {tokenizer.eos_token_id, *stop_tokens(Path(config.actor_rollout_ref.model.path))}
        self._waiting: list[tuple[Sample, asyncio.Future[Score]]] = []
        self._judge = rollout_judge(spec, self._files)

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """Score one completion: `{"reward_score": float, "reward_extra_info": {name: float}}`.

        Every completion has the same keys, as verl demands: terms, of which a missing one is NaN, and `OF_COMPLETIONS`.
        """
        future: asyncio.Future[Score] = asyncio.get_running_loop().create_future()
        sample = self._sample(data)
        self._waiting.append((sample, future))
        if len(self._waiting) == 1:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._score_waiting)
        score = await future
        if self._judge is not None:
            score = await self._judged(self._judge, data, Rollout(sample, score))
        terms = {f"reward_{name}": value for name, value in score.terms.items()}
        value = score.value - self._penalty(data)
        return {"reward_score": value, "reward_extra_info": {"score": value, **terms, **self._facts(sample)}}

    def _penalty(self, data: DataProto) -> float:
        """The length penalty of a completion; it applies only to completions that are trained on."""
        item = data[-1:][0]
        if item.non_tensor_batch["extra_info"]["split"] != "train":
            return 0.0
        return overlong_penalty(self._overlong, _length(item), self.config.data.max_response_length)

    def _facts(self, sample: Sample) -> dict[str, float]:
        """The values of `OF_COMPLETIONS`."""
        parsed = completion.parse(sample.completion, opened_think=self._opened_think, truncated=sample.truncated)
        return {"well_formed": float(parsed.well_formed), "truncated": float(sample.truncated)}

    async def _judged(self, judge: RolloutJudge, data: DataProto, rollout: Rollout) -> Score:
        fields = data[-1:][0].non_tensor_batch
        split = fields["extra_info"]["split"]
        rollouts = self.config.actor_rollout_ref.rollout
        size = rollouts.n if split == "train" else rollouts.val_kwargs.n
        try:
            return await judge.score(str(fields["uid"]), int(size), split, int(fields["global_steps"]), rollout)
        except DeepICDError as error:
            self._files.report_failure(error)
            raise
        except Exception as error:
            failure = _raised(error)
            self._files.report_failure(failure)
            raise failure from None

    def _sample(self, data: DataProto) -> Sample:
        item = data[-1:][0]
        tokens = item.batch["responses"][: _length(item)].tolist()
        text, cut = read_completion(self.tokenizer, tokens, self._stops, self.config.data.max_response_length)
        fields = item.non_tensor_batch
        return Sample(
            completion=text,
            gold=fields["reward_model"]["ground_truth"],
            note=self._prompt.note(fields["raw_prompt"]),
            truncated=cut,
            local_gold=is_local(fields["extra_info"]),
        )

    def _score_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        try:
            scores = self._score([sample for sample, _ in batch])
        except UserError as error:
            self._fail(batch, _broken(f"the reward cannot be scored: {error}"))
            return
        except Exception as error:
            self._fail(batch, _raised(error))
            return
        for (_, future), score in zip(batch, scores, strict=True):
            future.set_result(score)

    def _fail(self, batch: list[tuple[Sample, asyncio.Future[Score]]], error: DeepICDError) -> None:
        self._files.report_failure(error)
        for _, future in batch:
            future.set_exception(error)


def _length(item: Any) -> int:
    """Tokens of a completion."""
    return int(item.batch["attention_mask"][-item.batch["responses"].shape[-1] :].sum())


def _raised(error: Exception) -> DeepICDError:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    # The exception's own text may quote a note or a completion: it is left out.
    return _broken(f"the reward code raised {type(error).__name__} at {frame.filename}:{frame.lineno}")


def _broken(found: str) -> DeepICDError:
    return RewardCodeError(f"{found}: fix it, then run again to resume from the last checkpoint")
