"""The sizes of a model that decide how much memory it takes, read from its configuration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from deepicd.spec.model import ModelSpec, TinyModel

_OF_THIS_FORM = frozenset({"llama", "mistral", "qwen2", "qwen3", "olmo2", "olmo3", "granite", "exaone4", "seed_oss"})
"""Types of models that `ModelShape` counts correctly. A model with experts may have thirty times as many parameters."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder with gated feed-forward layers, like Llama, Mistral and Qwen."""

    vocabulary: int
    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    key_value_heads: int
    head_size: int
    tied: bool
    """Whether input and output embeddings are one matrix."""

    @property
    def embeddings(self) -> int:
        """Parameters of the embeddings."""
        return self.vocabulary * self.hidden_size * (1 if self.tied else 2)

    @property
    def layer(self) -> int:
        """Parameters of one layer; biases, a thousandth, are left out."""
        attention = 2 * self.hidden_size * self.head_size * (self.heads + self.key_value_heads)
        return attention + 3 * self.hidden_size * self.intermediate_size + 2 * self.hidden_size

    @property
    def linear_layers(self) -> list[tuple[str, tuple[int, int]]]:
        """Name and shape (out, in) of each linear layer except the output layer."""
        hidden, wide = self.hidden_size, self.intermediate_size
        queries, keys = self.heads * self.head_size, self.key_value_heads * self.head_size
        return self.layers * [
            ("q_proj", (queries, hidden)), ("k_proj", (keys, hidden)), ("v_proj", (keys, hidden)),
            ("o_proj", (hidden, queries)), ("gate_proj", (wide, hidden)), ("up_proj", (wide, hidden)),
            ("down_proj", (hidden, wide)),
        ]  # fmt: skip

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return self.embeddings + self.layers * self.layer + self.hidden_size

    @classmethod
    def of_config(cls, config: Mapping[str, Any]) -> Self:
        """Read a Hugging Face `config.json`.

        Raises:
            KeyError, TypeError, ValueError: the model has another form.
        """
        if config.get("model_type", "llama") not in _OF_THIS_FORM:
            raise ValueError("another form, such as experts")
        hidden, heads = int(config["hidden_size"]), int(config["num_attention_heads"])
        return cls(
            vocabulary=int(config["vocab_size"]),
            hidden_size=hidden,
            intermediate_size=int(config["intermediate_size"]),
            layers=int(config["num_hidden_layers"]),
            heads=heads,
            key_value_heads=int(config.get("num_key_value_heads") or heads),
            head_size=int(config.get("head_dim") or hidden // heads),
            tied=bool(config.get("tie_word_embeddings", False)),
        )

    @classmethod
    def of_tiny(cls, tiny: TinyModel) -> Self:
        """The shape of `model.tiny`."""
        return cls(
            vocabulary=tiny.vocabulary, hidden_size=tiny.hidden_size, intermediate_size=tiny.intermediate_size,
            layers=tiny.layers, heads=tiny.heads, key_value_heads=tiny.heads, head_size=tiny.hidden_size // tiny.heads,
            tied=False,
        )  # fmt: skip


_KNOWN = {
    "Qwen/Qwen2.5-0.5B": ModelShape(151936, 896, 4864, 24, 14, 2, 64, tied=True),
    "Qwen/Qwen2.5-1.5B": ModelShape(151936, 1536, 8960, 28, 12, 2, 128, tied=True),
    "Qwen/Qwen2.5-3B": ModelShape(151936, 2048, 11008, 36, 16, 2, 128, tied=True),
    "Qwen/Qwen2.5-7B": ModelShape(152064, 3584, 18944, 28, 28, 4, 128, tied=False),
    "meta-llama/Llama-3.2-1B": ModelShape(128256, 2048, 8192, 16, 32, 8, 64, tied=True),
    "meta-llama/Llama-3.2-3B": ModelShape(128256, 3072, 8192, 28, 24, 8, 128, tied=True),
    "meta-llama/Llama-3.1-8B": ModelShape(128256, 4096, 14336, 32, 32, 8, 128, tied=False),
}
"""Common models, by their names on the hub, for an estimate before anything is downloaded."""


def shape_of(model: ModelSpec) -> ModelShape | None:
    """The shape of a run's base model. None if the model has another form, or its configuration is not on this machine and
    its name is not known.
    """
    return ModelShape.of_tiny(model.tiny) if model.tiny is not None else shape_at(str(model.path))


def shape_at(model: str) -> ModelShape | None:
    """The shape of the model in a folder, or of a name on the hub; None as for `shape_of`."""
    path = _config(model)
    if path is None:
        return _KNOWN.get(model.removesuffix("-Instruct"))
    try:
        return ModelShape.of_config(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _config(path: str) -> Path | None:
    """config.json of a model's folder, or of its name in the Hugging Face cache."""
    if Path(path).is_dir():
        return Path(path) / "config.json"
    try:
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(path, "config.json")
    except (ImportError, ValueError):  # not installed, or no name on the hub
        return None
    return Path(found) if isinstance(found, str) else None
