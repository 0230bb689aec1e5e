"""A run that is deleted and applied again while the pods of the first one are still ending."""

from __future__ import annotations

import pytest

from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.operated import pod_of, quickstart, run_of, running_pod, state_of, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import TAKES_TO_STOP, end_pod

pytestmark = pytest.mark.usefixtures("run_definition")


def test_the_old_runs_pod_does_not_count_as_the_new_ones(api: Api, namespace: str, operator: OperatorProcess) -> None:
    quota = {"requests.nvidia.com/gpu": "1"}
    metadata = {"name": "gpus", "namespace": namespace}
    api.create({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": quota}})
    run = quickstart(namespace, {TAKES_TO_STOP: "8s"}, recovery__stallAfter="2s")
    first = api.create(run)
    old = running_pod(api, namespace)["metadata"]["name"]
    wait_for_state(api, namespace, "Running")
    api.delete("DeepICDRun", "quickstart", namespace)
    wait_for(lambda: api.find("DeepICDRun", "quickstart", namespace) is None, 30, "the run is still there")
    second = api.create(run)
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    seen = set()

    def old_pod_is_gone() -> bool:
        seen.add(state_of(api, namespace))
        return api.find("Pod", old, namespace) is None

    wait_for(old_pod_is_gone, 60, "the old pod does not end")
    assert seen <= {"", "Pending"}
    running_pod(api, namespace)
    status = wait_for_state(api, namespace, "Running")["status"]
    assert [(each["number"], each.get("reason")) for each in status["attempts"]] == [(1, None)]
    assert status["attempts"][0]["pod"] == pod_of(api, namespace)["metadata"]["name"] != old
    end_pod(api, pod_of(api, namespace))
    wait_for_state(api, namespace, "Succeeded")


def test_a_queued_job_is_not_preempted_by_the_old_runs_pod(api: Api, namespace: str, operator: OperatorProcess) -> None:
    run = quickstart(namespace, {TAKES_TO_STOP: "6s"})
    api.create(run)
    old = running_pod(api, namespace)["metadata"]["name"]
    wait_for_state(api, namespace, "Running")
    api.delete("DeepICDRun", "quickstart", namespace)
    wait_for(lambda: api.find("DeepICDRun", "quickstart", namespace) is None, 30, "the run is still there")
    run["spec"]["compute"]["queue"] = "gpus"
    owner = api.create(run)["metadata"]["uid"]

    def its_job() -> Raw | None:
        found = api.find("Job", "quickstart-a1", namespace)
        return found if found is not None and found["metadata"]["ownerReferences"][0]["uid"] == owner else None

    # The garbage collector learns of a new kind every 30 s, and only then that the old run's ServiceAccount can go.
    job = wait_for(its_job, 90, lambda: run_of(api, namespace).get("status"))
    wait_for(lambda: api.find("Pod", old, namespace) is None, 60, "the old pod does not end")
    wait_for(lambda: run_of(api, namespace)["status"]["reason"] == "Queued", 30, lambda: run_of(api, namespace)["status"])
    status = run_of(api, namespace)["status"]
    assert [each.get("end") for each in status["attempts"]] == [None]
    assert api.get("Job", "quickstart-a1", namespace)["metadata"]["uid"] == job["metadata"]["uid"]
