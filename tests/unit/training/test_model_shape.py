from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepicd.spec.model import ModelSpec, TinyModel
from deepicd.training.model_shape import ModelShape, shape_of
from deepicd.training.weights import parameters_in

# config.json of models that people train, and their numbers of parameters in billions.
QWEN_7B = {
    "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
    "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_8B = {
    "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256,
}  # fmt: skip
QWEN_1B = QWEN_7B | {
    "hidden_size": 1536, "intermediate_size": 8960, "num_attention_heads": 12, "num_key_value_heads": 2, "vocab_size": 151936,
    "tie_word_embeddings": True,
}  # fmt: skip
QWEN3_4B = {
    "hidden_size": 2560, "intermediate_size": 9728, "num_hidden_layers": 36, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 151936, "head_dim": 128, "tie_word_embeddings": True,
}  # fmt: skip


@pytest.mark.parametrize(("config", "billions"), [(QWEN_7B, 7.616), (LLAMA_8B, 8.030), (QWEN_1B, 1.544), (QWEN3_4B, 4.022)])
def test_parameters_are_counted_from_the_configuration(config: dict[str, Any], billions: float) -> None:
    assert ModelShape.of_config(config).parameters / 1e9 == pytest.approx(billions, rel=1e-3)


@pytest.mark.parametrize("tied", [True, False])
def test_parameters_are_those_of_a_real_model(tied: bool, tmp_path: Path) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64, intermediate_size=96, num_hidden_layers=3, num_attention_heads=4, num_key_value_heads=2,
        vocab_size=500, tie_word_embeddings=tied,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(tmp_path)
    exact = sum(part.numel() for part in model.parameters())
    shape = shape_of(ModelSpec(path=str(tmp_path)))
    assert shape is not None
    assert shape.parameters == exact == parameters_in(tmp_path)


def test_the_tiny_models_shape_is_known_before_it_exists() -> None:
    shape = shape_of(ModelSpec(tiny=TinyModel()))
    assert shape is not None
    assert (shape.vocabulary, shape.hidden_size, shape.layers, shape.head_size) == (1000, 256, 2, 64)


@pytest.mark.parametrize("content", [None, "no json", "{}", json.dumps(QWEN_7B | {"hidden_size": "wide"})])
def test_a_model_of_unknown_form_has_no_shape(content: str | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    assert shape_of(ModelSpec(path=str(tmp_path))) is None


def test_a_model_that_is_not_on_this_machine_has_no_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert shape_of(ModelSpec(path="nobody/has-this-model")) is None
