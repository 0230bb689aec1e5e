"""Adapters are merged as peft itself merges them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from deepicd.training.lora import merged


def adapted(*, tied: bool, targets: Any = "all-linear") -> Any:
    """A small model with adapters that change its answers."""
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
        tie_word_embeddings=tied,
    )  # fmt: skip
    lora = LoraConfig(task_type=TaskType.CAUSAL_LM, r=4, lora_alpha=8, target_modules=targets)
    model = get_peft_model(Qwen2ForCausalLM(config), lora)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    return model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("targets", ["all-linear", ["q_proj", "down_proj"]])
def test_a_merged_model_is_the_one_that_peft_merges(tied: bool, targets: Any) -> None:
    model = adapted(tied=tied, targets=targets)
    found = merged(model.state_dict(), 8 / 4)
    expected = model.merge_and_unload().state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor)


def test_adapters_without_their_layer_are_no_model() -> None:
    state = adapted(tied=False).state_dict()
    lost = next(name for name in state if "base_layer.weight" in name)
    with pytest.raises(ValueError, match="has an adapter and no weights"):
        merged({name: tensor for name, tensor in state.items() if name != lost}, 2.0)


def test_an_adapter_of_another_kind_is_not_merged() -> None:
    state = adapted(tied=False).state_dict() | {"base_model.model.x.lora_magnitude_vector.default.weight": torch.ones(1)}
    with pytest.raises(ValueError, match="is no plain low-rank adapter"):
        merged(state, 2.0)
