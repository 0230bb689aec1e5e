"""Attempts of a run, and the objects that the operator makes for them."""

from __future__ import annotations

from typing import Any

from deepicd.spec.load import parse
from deepicd_operator.resources import (
    AttemptRequest,
    further_objects,
    starting_objects,
)
from deepicd_operator.settings import Settings
from tests.unit.operator.builders import NAME, SETTINGS, UID, spec


def request(name: str = NAME, number: int = 1, settings: Settings = SETTINGS, **changes: Any) -> AttemptRequest:
    content = {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": name}, "spec": spec(**changes)}
    return AttemptRequest(parse(content, "run"), "research", UID, number, settings)


def attempt_objects(asked: AttemptRequest) -> list[dict[str, Any]]:
    return [each for group in (*starting_objects(asked), *further_objects(asked)) for each in group]


def made(kind: str, **changes: Any) -> dict[str, Any]:
    return next(each for each in attempt_objects(request(**changes)) if each["kind"] == kind)


def pod(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = made("Job", **changes)["spec"]["template"]
    return found


def trainer(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = pod(**changes)["spec"]["containers"][0]
    return found


JUDGE: dict[str, Any] = {"endpoint": "http://judge.models.svc:8000/v1", "name": "judge"}
MLFLOW: dict[str, Any] = {"mlflow": {"uri": "http://mlflow.tracking.svc:5000/team", "experiment": "coding", "secret": "mlflow"}}
TEACHER: dict[str, Any] = {"endpoint": "http://teacher.models.svc:8001/v1", "name": "teacher"}
SEVERAL: dict[str, Any] = {
    "compute__nodes": 3,
    "compute__scratch": {"size": "50Gi", "storageClass": "shared"},
    "stages__grpo__microBatchSizePerGpu": 8,
    "stages__grpo__ppoMiniBatchSize": 6,
    "stages__grpo__trainBatchSize": 6,
}


def ray_nodes(**changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Pod templates of head and workers."""
    cluster = made("RayJob", **{**SEVERAL, **changes})["spec"]["rayClusterSpec"]
    return cluster["headGroupSpec"]["template"], cluster["workerGroupSpecs"][0]["template"]
