"""The shapes of models that people train, by their names on the hub: for an estimate before anything is downloaded."""

from __future__ import annotations

from deepicd.training.model_shape import ModelShape

_SHAPES = {
    "Qwen/Qwen2.5-0.5B": ModelShape(151936, 896, 4864, 24, 14, 2, 64, tied=True),
    "Qwen/Qwen2.5-1.5B": ModelShape(151936, 1536, 8960, 28, 12, 2, 128, tied=True),
    "Qwen/Qwen2.5-3B": ModelShape(151936, 2048, 11008, 36, 16, 2, 128, tied=True),
    "Qwen/Qwen2.5-7B": ModelShape(152064, 3584, 18944, 28, 28, 4, 128, tied=False),
    "meta-llama/Llama-3.2-1B": ModelShape(128256, 2048, 8192, 16, 32, 8, 64, tied=True),
    "meta-llama/Llama-3.2-3B": ModelShape(128256, 3072, 8192, 28, 24, 8, 128, tied=True),
    "meta-llama/Llama-3.1-8B": ModelShape(128256, 4096, 14336, 32, 32, 8, 128, tied=False),
}


def known_shape(name: str) -> ModelShape | None:
    """The shape of a model, or of its instruction-tuned variant; None if it is not known."""
    return _SHAPES.get(name.removesuffix("-Instruct"))
