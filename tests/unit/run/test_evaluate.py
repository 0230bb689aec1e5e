"""Which models of a run are evaluated."""

from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.run.context import Context
from deepicd.run.evaluate import models
from deepicd.run_layout import RunLayout
from deepicd.spec.load import parse
from deepicd.spec.run import EvaluateSpec
from tests.unit.stops import NeverStop


def evaluated(stages: dict[str, object], settings: EvaluateSpec) -> list[str]:
    content = {
        "apiVersion": "deepicd.io/v1alpha1",
        "kind": "DeepICDRun",
        "metadata": {"name": "run"},
        "spec": {"model": {"tiny": {}}, "data": {"synthetic": {}}, "stages": stages},
    }
    context = Context(parse(content, "run.yaml"), RunLayout(Path("run")), NeverStop(), lambda *_: None)
    return list(models(context, settings))


@pytest.mark.parametrize(
    ("stages", "base", "found"),
    [
        ({"sft": {}, "grpo": {}}, True, ["base", "sft", "grpo"]),
        ({"sft": {}, "grpo": {}}, False, ["sft", "grpo"]),
        ({"grpo": {}}, False, ["grpo"]),
        ({"evaluate": {}}, True, ["base"]),
        ({"evaluate": {}}, False, ["base"]),
    ],
)
def test_the_base_model_is_evaluated_unless_left_out_beside_a_trained_one(
    stages: dict[str, object], base: bool, found: list[str]
) -> None:
    assert evaluated(stages, EvaluateSpec(base=base)) == found
