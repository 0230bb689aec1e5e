from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse

HEAD = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"}}


def run(lora: dict[str, Any] | None, stages: dict[str, Any]) -> Any:
    data = {"synthetic": {"admissions": 100}}
    return parse({**HEAD, "spec": {"model": {"tiny": {}, "lora": lora}, "data": data, "stages": stages}}, "run.yaml")


def test_adapters_have_defaults() -> None:
    lora = run({}, {"sft": {}}).spec.model.lora
    assert (lora.rank, lora.alpha, lora.target_modules) == (32, 32, ())


def test_a_run_without_adapters_is_the_one_of_earlier_versions() -> None:
    assert "lora" not in run(None, {"sft": {}}).spec.decisive["model"]
    assert "lora" in run({}, {"sft": {}}).spec.decisive["model"]


@pytest.mark.parametrize(
    ("lora", "stages", "says"),
    [
        ({"rank": 513}, {"grpo": {}}, "spec.model.lora.rank"),
        ({"rank": 0}, {"sft": {}}, "spec.model.lora.rank"),
        ({"alpha": 0}, {"sft": {}}, "spec.model.lora.alpha"),
        ({"targetModules": ["q proj"]}, {"sft": {}}, "spec.model.lora.targetModules"),
        ({"targetModules": ["q_proj", "lm_head"]}, {"sft": {}}, "lm_head: vLLM does not accept adapters for embeddings"),
        ({}, {"evaluate": {}}, "model.lora: no stage trains: add stages.sft or stages.grpo, or leave model.lora out"),
    ],
)
def test_adapters_that_cannot_work_are_refused(lora: dict[str, Any], stages: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as error:
        run(lora, stages)
    assert says in str(error.value)
