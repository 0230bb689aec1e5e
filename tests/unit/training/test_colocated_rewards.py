from __future__ import annotations

from typing import Any

import torch
from tensordict import NonTensorStack, TensorDict

from deepicd.training.colocated_rewards import reward_input, with_rewards

GOLD, NOTES = ["M5116", "I10"], ["Leg pain.", "Headache."]


def jagged(*rows: list[int]) -> torch.Tensor:
    return torch.nested.as_nested_tensor([torch.tensor(row) for row in rows], layout=torch.jagged)


def stored() -> Any:
    found = TensorDict({"prompts": jagged([5, 6, 7], [8]), "responses": jagged([1], [2, 3])}, batch_size=2)
    fields: dict[str, list[Any]] = {
        "raw_prompt": [[{"role": "user", "content": note}] for note in NOTES],
        "uid": ["a", "b"],
        "reward_model": [{"ground_truth": gold} for gold in GOLD],
        "extra_info": [{"split": "train", "id": name} for name in "xy"],
        "extra_fields": [{"turns": 1}, {"turns": 2}],
    }
    for name, values in fields.items():
        found.set(name, NonTensorStack(*values))
    return found


def test_the_reward_gets_gold_codes_and_the_tokens_of_each_completion() -> None:
    found = reward_input(stored(), step=3)
    for place in range(2):
        item = found[place : place + 1][-1:][0]
        fields = item.non_tensor_batch
        assert fields["reward_model"]["ground_truth"] == GOLD[place]
        assert fields["raw_prompt"][-1]["content"] == NOTES[place]
        assert (fields["uid"], int(fields["global_steps"]), fields["extra_info"]["split"]) == ("ab"[place], 3, "train")
        response = item.batch["responses"]
        length = int(item.batch["attention_mask"][-response.shape[-1] :].sum())
        assert response[:length].tolist() == [[1], [2, 3]][place]
        assert int(item.batch["attention_mask"].sum()) == [4, 3][place]


def test_a_reward_is_at_the_last_token_and_what_it_says_besides_is_kept_with_the_rest() -> None:
    rewards = [
        {"reward_score": 0.5, "reward_extra_info": {"score": 0.5}},
        {"reward_score": 1.0, "reward_extra_info": {"score": 1.0}},
    ]
    found = with_rewards(stored(), rewards)
    assert [row.tolist() for row in found["rm_scores"].unbind()] == [[0.5], [0.0, 1.0]]
    assert list(found["extra_fields"]) == [
        {"turns": 1, "reward_extra_info": {"score": 0.5}},
        {"turns": 2, "reward_extra_info": {"score": 1.0}},
    ]
