"""`spec.model`: the model that training starts from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later
from deepicd.spec.prompt import PromptSpec
from deepicd.spec.rules import divides, exactly_one, python_only
from deepicd.spec.wording import pattern

HEAD_SIZES = (32, 64, 80, 96, 112, 128, 160, 192, 224, 256, 512)
"""Sizes of an attention head for which vLLM has a CPU kernel. Others crash it minutes later."""


class TinyModel(SpecModel):
    """A small Qwen2 model with random weights and a tokenizer learned from the cohort, for trials without a GPU."""

    vocabulary: int = Field(default=1000, ge=300, le=32000)
    """Size of the byte-level BPE vocabulary."""
    hidden_size: int = Field(default=256, ge=32, multiple_of=32)
    """Width of the residual stream."""
    intermediate_size: int = Field(default=768, ge=32)
    """Width of the feed-forward layers."""
    layers: int = Field(default=2, ge=1)
    """Number of transformer layers."""
    heads: int = Field(default=4, ge=1)
    """Number of attention heads, each of `hiddenSize / heads` values: 32, 64, 80, 96, 112, 128, 160, 192, 224, 256 or 512."""
    seed: int = Field(default=0, ge=0)
    """Seed of the weights."""

    rules = (
        divides(
            "heads",
            "hiddenSize",
            into=HEAD_SIZES,
            message=f"heads: does not divide hiddenSize into one of {', '.join(map(str, HEAD_SIZES))}",
        ),
    )


_LAYER = pattern("^[A-Za-z0-9_]{1,64}$", "the name of a layer, such as q_proj")


class LoraSpec(SpecModel):
    """Low-rank adapters, which SFT and GRPO train instead of all weights. Each stage ends with a merged model, and the next
    stage trains a new adapter on it.
    """

    rank: int = Field(default=32, ge=1, le=512)
    """Rank of the adapters; vLLM takes up to 512."""
    alpha: int = Field(default=32, ge=1)
    """An adapter's output is multiplied by `alpha / rank`."""
    target_modules: tuple[Annotated[str, Field(pattern=_LAYER)], ...] = Field(default=(), max_length=32)
    """Linear layers that get an adapter, such as `q_proj`; by default all except the output layer."""

    rules = (python_only("targetModules: ", lambda lora: _check_targets(lora.target_modules)),)


EMBEDDINGS = ("lm_head", "embed_tokens")
"""Layers that get no adapter."""


def _check_targets(names: tuple[str, ...]) -> None:
    for name in names:
        if name in EMBEDDINGS:
            raise ValueError(f"{name}: vLLM does not accept adapters for embeddings: leave it out")


class ModelSpec(SpecModel):
    """The base model: exactly one of `path`, `tiny`."""

    path: str | None = None
    """Folder with a Hugging Face model, or its name on the hub (without a network, from the local cache)."""
    tiny: TinyModel | None = None
    """Create a small model for a trial."""
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    """Number format of the forward pass, in training and in vLLM; master weights are float32."""
    opened_think: bool = True
    """The prompt ends in an opened `<think>`, as the released model's does, and completions lack that tag. If the model's chat
    template does not open it, `prepare` adds it. Use `false` if the template does not open it and the model writes the tag."""
    prompt: Later[PromptSpec] = PromptSpec(preset="deepicd")
    """The prompt in training, evaluation and prediction; stored with each model."""
    lora: Later[LoraSpec | None] = None
    """Train low-rank adapters instead of all weights."""

    rules = (exactly_one("path", "tiny"),)

    @field_validator("prompt", mode="before")
    @classmethod
    def _null_is_the_default(cls, given: Any) -> Any:
        """Runs stored by earlier versions have `null` if the preset was not written."""
        return PromptSpec(preset="deepicd") if given is None else given
