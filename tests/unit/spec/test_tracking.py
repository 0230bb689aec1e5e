from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from deepicd.spec.tracking import TrackingSpec

HOSTED = {"uri": "https://mlflow.example.org/team", "experiment": "coding"}


@pytest.mark.parametrize("content", [{"mlflow": HOSTED}, {"tensorboard": {}}, {"mlflow": HOSTED, "tensorboard": {}}])
def test_a_tracker_is_named_by_its_section(content: dict[str, Any]) -> None:
    chosen = TrackingSpec.model_validate(content)
    assert (chosen.mlflow is not None, chosen.tensorboard is not None) == ("mlflow" in content, "tensorboard" in content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "names no tracker"),
        ({"mlflow": {**HOSTED, "uri": "sqlite:///mlflow.db"}}, "should match pattern"),
        ({"mlflow": {**HOSTED, "uri": "https://mlflow:99999"}}, "uri: is not an address"),
        ({"mlflow": {"uri": HOSTED["uri"]}}, "experiment"),
    ],
)
def test_what_is_no_tracker_is_refused(content: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrackingSpec.model_validate(content)


def test_a_password_in_the_address_is_refused_without_being_shown() -> None:
    with pytest.raises(ValidationError) as error:
        TrackingSpec.model_validate({"mlflow": {**HOSTED, "uri": "https://me:hunter2@mlflow.example.org"}})
    assert "remove them, and give secret" in str(error.value)
    assert "hunter2" not in error.value.errors()[0]["msg"]
