"""Runs that their model's configuration rules out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse
from deepicd.spec.run import RunSpec
from deepicd.training.model_limits import check_limits

QWEN_7B = {"max_position_embeddings": 32768, "num_attention_heads": 28}


def run(**stages: Any) -> RunSpec:
    spec = {"model": {"path": "x"}, "data": {"synthetic": {}}, "stages": stages, "compute": {"gpus": 8}}
    head = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"}}
    return parse({**head, "spec": spec}, "run.yaml").spec


def check(config: dict[str, Any], folder: Path, **stages: Any) -> None:
    (folder / "config.json").write_text(json.dumps(config))
    check_limits(run(**stages), folder)


@pytest.mark.parametrize(
    ("config", "stages", "message"),
    [
        (
            {"max_position_embeddings": 2048},
            {"grpo": {}},
            r"^spec\.stages\.grpo\.maxPromptTokens: with maxResponseTokens it is 3072 tokens, and the model has 2048 positions",
        ),
        ({"max_position_embeddings": 2048}, {"evaluate": {}}, "it is 3072 tokens"),
        (
            {"max_position_embeddings": 3072},
            {"sft": {"maxTokens": 4096}},
            r"^spec\.stages\.sft\.maxTokens: is 4096, and the model has 3072 positions: lower it",
        ),
        (
            QWEN_7B,
            {"grpo": {"tensorParallel": 8}},
            r"^spec\.stages\.grpo\.tensorParallel: 8 does not divide the model's 28 attention heads",
        ),
    ],
)
def test_what_the_model_cannot_do_is_refused(
    config: dict[str, Any], stages: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=message):
        check(config, tmp_path, **stages)


@pytest.mark.parametrize(
    "config",
    [
        QWEN_7B,
        {},
        {"max_position_embeddings": 2048, "rope_scaling": {"rope_type": "yarn", "factor": 4.0}},
        {"max_position_embeddings": 2048, "rope_parameters": {"rope_type": "linear", "factor": 2}},
    ],
)
def test_what_it_can_do_is_accepted(config: dict[str, Any], tmp_path: Path) -> None:
    check(config, tmp_path, sft={}, grpo={"tensorParallel": 4})
