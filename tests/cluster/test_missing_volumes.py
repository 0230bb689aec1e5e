"""A missing claim or StorageClass is reported as such, and waited for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cluster.api import Api, wait_for
from tests.cluster.builders import condition
from tests.cluster.operated import quickstart, reason_of, run_of, running_pod
from tests.cluster.operator_process import OperatorProcess

pytestmark = pytest.mark.usefixtures("run_definition")

MISSING: dict[str, tuple[dict[str, Any], str]] = {
    "claim": ({"compute__dataVolumes": [{"claim": "mimic", "path": "/data"}]}, 'persistentvolumeclaim "mimic" not found'),
    "cache": ({"compute__modelCache": "models"}, 'persistentvolumeclaim "models" not found'),
    "class": ({"compute__scratch": {"size": "1Gi", "storageClass": "absent"}}, "unbound immediate PersistentVolumeClaims"),
}


@pytest.mark.parametrize("missing", MISSING)
def test_a_missing_volume_is_the_reason(api: Api, namespace: str, operator: OperatorProcess, missing: str) -> None:
    changes, says = MISSING[missing]
    api.create(quickstart(namespace, **changes))
    wait_for(lambda: reason_of(api, namespace, "Running") == "VolumeMissing", 30, lambda: run_of(api, namespace)["status"])
    found = condition(run_of(api, namespace), "Running")
    assert found is not None
    assert says in found["message"]
    assert run_of(api, namespace)["status"]["reason"] == "VolumeMissing"
    if missing == "claim":
        api.create({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace},
            "spec": {
                "storageClassName": namespace, "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
                "hostPath": {"path": "/nowhere"},
            },
        })  # fmt: skip
        api.create({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "mimic", "namespace": namespace},
            "spec": {
                "storageClassName": namespace, "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
        })  # fmt: skip
        running_pod(api, namespace)
        api.delete("PersistentVolume", namespace)
