"""Settings that a model's config.json rules out, and with which training or vLLM would otherwise fail hours later."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepicd.errors import UserError
from deepicd.prompt import asked
from deepicd.spec.run import RunSpec


def check_limits(run: RunSpec, model: Path) -> None:
    """Compare a run with the configuration of its model, in the folder `model`.

    Raises:
        UserError: a text is longer than the model has positions, or vLLM cannot split its heads over `tensorParallel` GPUs.
    """
    config: dict[str, Any] = json.loads((model / "config.json").read_text(encoding="utf-8"))
    positions, heads = config.get("max_position_embeddings"), config.get("num_attention_heads")
    sft, grpo = run.stages.sft, run.stages.grpo
    if isinstance(positions, int):
        limit = int(positions * _scaling(config))
        budgets = asked(run)
        longest = budgets.max_prompt_tokens + budgets.max_response_tokens
        if longest > limit:
            raise UserError(
                f"spec.stages.grpo.maxPromptTokens: with maxResponseTokens it is {longest} tokens, and the model has {limit} "
                "positions: lower one of them"
            )
        if sft is not None and sft.max_tokens > limit:
            raise UserError(
                f"spec.stages.sft.maxTokens: is {sft.max_tokens}, and the model has {limit} positions: lower it to that"
            )
    if isinstance(heads, int) and grpo is not None and heads % grpo.tensor_parallel:
        raise UserError(
            f"spec.stages.grpo.tensorParallel: {grpo.tensor_parallel} does not divide the model's {heads} attention heads, "
            "which vLLM splits: choose a number that does"
        )


def _scaling(config: Mapping[str, Any]) -> float:
    """The largest factor by which positions exceed the model's own."""
    rope = config.get("rope_scaling") or config.get("rope_parameters") or {}
    factor = rope.get("factor") if isinstance(rope, Mapping) else None
    return max(1.0, float(factor)) if isinstance(factor, int | float) else 1.0
