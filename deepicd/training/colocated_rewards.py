"""Rewards of whole batches, computed while the policy sleeps. verl's own path for a colocated reward model lacks the gold
code.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from verl import DataProto
from verl.experimental.reward_loop import RewardLoopManager
from verl.utils.tensordict_utils import list_of_dict_to_tensordict

FIELDS = ("prompts", "responses", "raw_prompt", "uid", "reward_model", "extra_info", "extra_fields")
"""Fields of stored completions that the reward needs, or adds to."""
_OF_REWARD = ("raw_prompt", "uid", "reward_model", "extra_info")


class RewardsAfterRollouts(RewardLoopManager):  # type: ignore[misc]
    """Rollouts end without a reward; verl then has the trainer compute the rewards of the whole batch."""

    @property
    def reward_loop_worker_handles(self) -> None:
        """None, which tells verl so."""
        return None


def reward_input(stored: Any, step: int) -> DataProto:
    """The input that the reward manager gets for completions when they arrive one by one.

    Args:
        stored: `FIELDS` of N completions; prompts and responses are jagged token ids.
        step: the step that they belong to.
    """
    tokens = {name: stored[name] for name in ("prompts", "responses")}
    padded = {name: ids.to_padded_tensor(padding=0) for name, ids in tokens.items()}
    masks = [_mask(tokens[name].offsets().diff(), padded[name].size(1)) for name in tokens]
    count = padded["responses"].size(0)
    others = {name: _objects(stored[name]) for name in _OF_REWARD}
    return DataProto.from_dict(
        tensors={**padded, "attention_mask": torch.cat(masks, dim=1)},
        non_tensors={**others, "global_steps": np.full(count, step, dtype=object)},
    )


def with_rewards(stored: Any, rewards: list[dict[str, Any]]) -> Any:
    """New fields of the same completions, for the store: `rm_scores`, and `extra_fields` with the reward's other values.

    Args:
        stored: as for `reward_input`.
        rewards: what the reward manager returned about each.
    """
    rows = []
    for response, extra, reward in zip(stored["responses"].unbind(), _objects(stored["extra_fields"]), rewards, strict=True):
        scores = torch.zeros(len(response), dtype=torch.float32)
        scores[-1] = reward["reward_score"]
        rows.append({"rm_scores": scores, "extra_fields": {**extra, "reward_extra_info": reward["reward_extra_info"]}})
    return list_of_dict_to_tensordict(rows)


def _mask(lengths: torch.Tensor, width: int) -> torch.Tensor:
    return (torch.arange(width).unsqueeze(0) < lengths.unsqueeze(1)).to(torch.int64)


def _objects(values: Any) -> np.ndarray[Any, Any]:
    """An array of objects, in whatever form the store returned them."""
    listed = values.tolist() if hasattr(values, "tolist") else list(values)
    found = np.empty(len(listed), dtype=object)
    found[:] = listed
    return found
