from __future__ import annotations

from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.spec.load import parse
from tests.unit.spec.test_load import quickstart


@pytest.mark.parametrize(
    ("compute", "message"),
    [
        ({"gpus": 0}, "spec.compute.gpus"),
        ({"gpus": 1, "nodes": 3, "scratch": {"storageClass": "shared"}}, "compute.gpus 1, compute.nodes 3)"),
        ({"gpus": 1, "nodes": 2}, "scratch.storageClass: is needed with nodes above 1"),
        ({"memory": "1Gi"}, "spec.compute.memory: is less than sharedMemory"),
        ({"cpu": 2, "cpuLimit": 1}, "cpuLimit: is less than cpu: raise it or lower cpu (got cpuLimit 1.0, cpu 2.0)"),
        ({"uploader": {"cpu": 2, "cpuLimit": 1}}, "spec.compute.uploader.cpuLimit: is less than cpu"),
        ({"uploader": {"memory": "2Gi", "memoryLimit": "1Gi"}}, "spec.compute.uploader.memoryLimit: is less than memory"),
        ({"env": [{"name": "A"}]}, "spec.compute.env.0: give exactly one of value, secret"),
        ({"env": [{"name": "DEEPICD_RUN_UID", "value": "x"}]}, "names that begin with DEEPICD_"),
        ({"tolerations": [{"value": "x"}]}, "operator: must be Exists where key is left out"),
        ({"tolerations": [{"operator": "Exists", "value": "x"}]}, "value: has no effect with operator Exists"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": 3}]}, "tolerationSeconds: goes with effect NoExecute"),
        ({"dataVolumes": [{"path": "/data"}]}, "give exactly one of claim, configMap, secret"),
        ({"dataVolumes": [{"claim": "a", "path": "data"}]}, "spec.compute.dataVolumes.0.path"),
        ({"serviceAccount": {"name": "own", "annotations": {"a": "b"}}}, "an existing ServiceAccount is not changed"),
        ({"podTemplatePatch": {"specs": {}}}, "unknown field 'specs': did you mean 'spec'?"),
        ({"queue": "Not A Queue"}, "spec.compute.queue"),
        ({"gpuResource": "nvidia com"}, "spec.compute.gpuResource"),
    ],
)
def test_a_mistake_in_compute_is_named(compute: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        parse(quickstart(spec__compute={"gpus": 1, **compute}), "run.yaml")
    assert message in str(error.value)


def test_a_run_on_several_nodes_needs_a_name_that_fits_a_ray_cluster() -> None:
    changes = {"spec__compute": {"nodes": 2, "gpus": 1, "scratch": {"storageClass": "shared"}}}
    parse(quickstart(metadata__name="a" * 42, **changes), "run.yaml")
    with pytest.raises(UserError, match="KubeRay takes at most 42"):
        parse(quickstart(metadata__name="a" * 43, **changes), "run.yaml")


@pytest.mark.parametrize("text", ["99999d", "9999999999s", "99999999h"])
def test_a_duration_beyond_decades_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"spec\.recovery\.deadline: a duration is a whole number and a unit"):
        parse(quickstart(spec__recovery={"deadline": text}), "run.yaml")


def test_where_and_how_a_run_is_placed_does_not_undo_finished_stages() -> None:
    from deepicd.run.pipeline import plan

    plain = parse(quickstart(), "run.yaml")
    changed = {"gpus": 1, "image": "x:1", "queue": "gpus", "memory": "64Gi", "nodeSelector": {"a": "b"}, "pricePerGpuHour": 2}
    moved = parse(quickstart(spec__compute=changed, spec__suspend=True), "run.yaml")
    assert [stage.inputs for stage in plan(moved)] == [stage.inputs for stage in plan(plain)]
