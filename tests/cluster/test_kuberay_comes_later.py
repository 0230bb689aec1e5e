"""KubeRay is installed while the operator is running."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cluster.api import Api, wait_for
from tests.cluster.control_plane import ControlPlane
from tests.cluster.operated import quickstart, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.ray_definition import rayjobs_known

pytestmark = pytest.mark.usefixtures("run_definition")


@pytest.fixture
def kuberay_later(cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess) -> Iterator[None]:
    """The RayJob CRD, installed after the operator has started and has a run."""
    content = quickstart(namespace)
    content["metadata"]["name"] = "at-work"
    api.create(content)
    wait_for(lambda: api.pods_of("at-work-a1", namespace), 30, operator.tail)
    assert operator.log.read_text().count('"serving"') == 1
    with rayjobs_known(cluster.api):
        wait_for(lambda: operator.log.read_text().count('"serving"') == 2, 30, operator.tail)
        yield


def test_its_jobs_are_watched_from_then_on(api: Api, namespace: str, operator: OperatorProcess, kuberay_later: None) -> None:
    api.create(quickstart(namespace, compute__nodes=2, compute__scratch={"size": "1Gi", "storageClass": "shared"}))
    wait_for(lambda: api.find("RayJob", "quickstart-a1", namespace), 30, operator.tail)
    status = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
    api.patch("RayJob", "quickstart-a1", namespace, {"status": status}, status=True)
    wait_for_state(api, namespace, "Succeeded")
    # A full list every five seconds would have found it too.
    assert 'deepicd_watch_missed_total{kind="RayJob"}' not in operator.get("/metrics")[1]
