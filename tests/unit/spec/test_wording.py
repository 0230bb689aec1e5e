"""Messages about wrong values in run.yaml use none of pydantic's own words."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import TypeAdapter

from deepicd.errors import UserError
from deepicd.spec.base import Duration, Size, TimeLimit
from deepicd.spec.load import parse
from deepicd.spec.run import RUN_NAME, DeepICDRun
from deepicd.spec.wording import expected

WRONG: tuple[Any, ...] = (
    None, 3, -1, 1.5, float("nan"), float("inf"), "x y", "", [], [1], {}, {"a": 1}, True, "9" * 500, ["a"] * 100,
)  # fmt: skip
PYDANTIC = re.compile(r"nput should|should (be|have|match)|[Vv]alid |tuple|dict|\^|None")
FULL: dict[str, Any] = {
    "apiVersion": "deepicd.io/v1alpha1",
    "kind": "DeepICDRun",
    "metadata": {"name": "x", "labels": {"a": "b"}},
    "spec": {
        "seed": 1,
        "model": {"path": "a", "dtype": "float32", "openedThink": True, "prompt": {"preset": "deepicd"}},
        "data": {
            "notes": {"file": "a", "columns": {"note": "text"}, "sections": "none"},
            "traces": "t",
            "split": {"train": 0.7, "validation": 0.1, "test": 0.2, "seed": 1},
        },
        "reward": {"preset": "deepicd", "terms": {"brief": {"path": "m:f"}}, "weights": {"brief": 1}},
        "stages": {
            "sft": {"trainBatchSize": 32, "learningRate": 1e-5, "schedule": "cosine", "overrides": ["a=1"]},
            "grpo": {"rollouts": 8, "gpuMemoryUtilization": 0.5, "klLoss": False},
            "evaluate": {"samples": 1},
        },
        "storage": {
            "s3": {
                "bucket": "abc", "prefix": "a", "endpoint": "https://s3", "region": "eu", "caBundle": "x", "pathStyle": True,
                "credentials": {"secretName": "a"}, "encryption": {"type": "kms", "kmsKeyId": "x"},
            },
            "keepLast": 1, "maxBytesPerSecond": "1Mi",
        },
        "compute": {
            "gpus": 1, "env": [{"name": "A", "value": "b"}, {"name": "B", "secret": {"name": "a", "key": "k"}}],
            "tolerations": [{"key": "a"}], "nodeSelector": {"a": "b"}, "gpuResource": "nvidia.com/gpu", "queue": "q",
            "dataVolumes": [{"claim": "a", "path": "/a", "subPath": "b"}], "scratch": {"size": "1Gi", "storageClass": "a"},
            "serviceAccount": {"annotations": {"a": "b"}},
        },
        "recovery": {"stallAfter": "30m", "maxAttempts": 2},
    },
}  # fmt: skip


def places(node: Any, above: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for name, value in items:
        yield (*above, name)
        yield from places(value, (*above, name))


def refused(place: tuple[Any, ...], value: Any) -> str:
    content = copy.deepcopy(FULL)
    node = content
    for name in place[:-1]:
        node = node[name]
    node[place[-1]] = value
    try:
        parse(content, "run.yaml")
    except UserError as error:
        return str(error)
    return ""


def test_the_whole_run_is_valid() -> None:
    assert parse(FULL, "run.yaml").metadata.name == FULL["metadata"]["name"]


@pytest.mark.parametrize("place", [*places(FULL)], ids=lambda place: ".".join(map(str, place)))
def test_no_message_is_pydantics_own(place: tuple[Any, ...]) -> None:
    messages = [refused(place, value) for value in WRONG]
    assert any(messages)
    for message in messages:
        assert not PYDANTIC.search(message.replace("is not a valid name", "")), message
        assert "\n" not in message
        assert max(map(len, message.split("; "))) < 700


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("spec", "stages", "sft", "overrides"), "a=1", 'spec.stages.sft.overrides: must be a list, such as [a, b] (got "a'),
        (("spec", "reward", "preset"), "deepcid", "must be deepicd, deepicd-r1 or strict (got \"deepcid\"): did you mean 'dee"),
        (("spec", "seed"), None, "spec.seed: must be a whole number (it is empty)"),
        (("spec", "compute", "nodeSelector"), {"a b": "c"}, "spec.compute.nodeSelector.a b: its name must be a name such as"),
        (("spec", "stages", "sft", "learningRate"), float("nan"), "sft.learningRate: must be a finite number (got NaN)"),
        (("spec", "stages", "grpo", "klLossCoefficient"), float("inf"), "must be a finite number (got Infinity)"),
        (("spec", "storage", "s3", "bucket"), "My_Bucket", "must be 3 to 63 lower-case letters, digits, '-' and '.'"),
        (("metadata", "name"), 5, "metadata.name: must be text (got 5): put it in quotes"),
    ],
)  # fmt: skip
def test_a_message_says_what_is_expected(place: tuple[Any, ...], value: Any, message: str) -> None:
    assert message in refused(place, value)


def patterns(part: Any) -> Iterator[str]:
    if isinstance(part, dict):
        yield from [part["pattern"]] if isinstance(part.get("pattern"), str) else []
        for inner in part.values():
            yield from patterns(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from patterns(inner)


def test_every_pattern_has_its_words() -> None:
    written_otherwise = {
        RUN_NAME,
        *(found for kind in (Duration, TimeLimit, Size) for found in patterns(TypeAdapter(kind).json_schema())),
    }
    found = {*patterns(DeepICDRun.model_json_schema())} - written_otherwise
    assert len(found) > 8
    for pattern in found:
        error = {"type": "string_pattern_mismatch", "ctx": {"pattern": pattern}, "input": "x"}
        assert expected(error).startswith("must be ")
