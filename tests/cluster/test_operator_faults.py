"""The operator is killed or cut off, or its writes are lost: a run ends in the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.api_call import Call
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy
from tests.cluster.operated import (
    CHILDREN,
    USER,
    leftovers,
    quickstart,
    run_of,
    running_pod,
    state_of,
    wait_for_state,
)
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, end_pod

pytestmark = pytest.mark.usefixtures("run_definition")


FEWEST, MOST = 11, 13
"""The operator's writes for a run without faults. Changes at the same time are written together."""
KILLED_AFTER = (1, 6, MOST + 1)
"""The writes after which `make test` kills the operator."""


def is_own_write(call: Call) -> bool:
    return call.is_write and call.user == USER


@pytest.mark.parametrize("lose", ["request", "answer"])
@pytest.mark.parametrize("before", [0, 4, 8])
def test_a_lost_write_changes_nothing_about_the_end(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, lose: str, before: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, lose=lose, skip=before))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded", 90)
    assert fault.times == 0
    assert len(done["status"]["attempts"]) == 1
    assert len(leftovers(api, namespace)) == len(CHILDREN)


@pytest.mark.parametrize("status", [409, 429, 500])
def test_errors_of_the_api_server_are_waited_out(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, status: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, status=status, retry_after=1, times=3))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    done = wait_for_state(api, namespace, "Succeeded", 90)
    assert fault.times == 0
    assert len(done["status"]["attempts"]) == 1


@pytest.mark.parametrize(
    "writes", [pytest.param(each, marks=[] if each in KILLED_AFTER else pytest.mark.long) for each in range(1, MOST + 2)]
)
def test_an_operator_killed_after_a_write_continues_where_it_was(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, writes: int
) -> None:
    fault = proxy.fail(Fault(is_own_write, then=operator.kill, lose="answer", skip=writes - 1))
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    wait_for(lambda: not operator.running or state_of(api, namespace) == "Succeeded", 60, "nothing happens")
    if not operator.running:
        operator.start()
    done = wait_for_state(api, namespace, "Succeeded")
    if writes <= FEWEST:
        assert fault.times == 0
    if writes > MOST:
        # A write after the last one never comes, so every write has been tried.
        assert fault.times == 1
    assert [each["reason"] for each in done["status"]["attempts"]] == ["Completed"]
    assert len(leftovers(api, namespace)) == len(CHILDREN)
    reasons = [each["reason"] for each in api.events(done)]
    assert sorted(reasons) == sorted(set(reasons))


def test_a_pod_that_runs_after_the_start_event_gets_its_own_event_despite_missing_objects(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, make_node: Callable[..., Raw]
) -> None:
    proxy.fail(Fault(lambda call: call.permission[1:] == ("roles", "create"), status=500, times=4))
    api.create(quickstart(namespace, compute__nodeSelector={"pool": namespace}))

    def reasons() -> list[str]:
        return sorted(each["reason"] for each in api.events(run_of(api, namespace)))

    wait_for(lambda: reasons() == ["AttemptStarted"], 30, reasons)
    make_node()
    wait_for(lambda: reasons() == ["AttemptStarted", "Running"], 30, reasons)


@pytest.mark.parametrize("runs_at_once", [20, pytest.param(80, marks=pytest.mark.long)])
def test_two_concurrent_operators_create_one_job_for_each_run(
    cluster: ControlPlane,
    api: Api,
    namespace: str,
    operator: OperatorProcess,
    proxy: FaultProxy,
    make_node: Callable[..., Raw],
    tmp_path: Path,
    runs_at_once: int,
) -> None:
    make_node(gpus=1000)
    second = OperatorProcess(
        cluster.kubeconfig_of(USER, server=proxy.server), tmp_path, f"--namespace={namespace}", name="second"
    )
    second.start()
    second.wait_until_serving()
    names = [f"run-{number}" for number in range(runs_at_once)]
    for name in names:
        content = quickstart(namespace, {RUNS_FOR: "1s"}, compute__nodeSelector={"pool": namespace})
        api.create({**content, "metadata": {**content["metadata"], "name": name}})

    def unfinished() -> list[str]:
        runs = api.list("DeepICDRun", namespace)
        return [run["metadata"]["name"] for run in runs if (run.get("status") or {}).get("state") != "Succeeded"]

    try:
        wait_for(lambda: not unfinished(), 240, unfinished)
    finally:
        second.kill()
    assert [call.name for call in proxy.calls if call.verb == "delete"] == []
    assert sorted(job["metadata"]["name"] for job in api.list("Job", namespace)) == sorted(f"{name}-a1" for name in names)
    assert {len(run["status"]["attempts"]) for run in api.list("DeepICDRun", namespace)} == {1}


def test_an_operator_with_a_late_watch_does_not_delete_an_ended_job(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy, tmp_path: Path
) -> None:
    # `operator` is the one whose watch of Jobs goes silent; the other one ends the run.
    other = OperatorProcess(cluster.kubeconfig_of(USER), tmp_path, f"--namespace={namespace}", name="other")
    other.start()
    other.wait_until_serving()
    try:
        api.create(quickstart(namespace))
        pod = running_pod(api, namespace)
        wait_for_state(api, namespace, "Running")
        assert proxy.silence_watches("jobs") == 1
        job = api.get("Job", "quickstart-a1", namespace)
        end_pod(api, pod)
        seen = len(proxy.calls)
        wait_for_state(api, namespace, "Succeeded")
        # Its next full list shows that it knows of the end by then.
        wait_for(lambda: any(call.verb == "list" for call in proxy.calls[seen:]), 30, "the late operator does not list")
    finally:
        other.kill()
    # It may try with the version that it knows, but must not succeed.
    kept = api.get("Job", "quickstart-a1", namespace)["metadata"]
    assert (kept["uid"], kept.get("deletionTimestamp")) == (job["metadata"]["uid"], None)


def test_an_api_server_that_restarts_mid_run_is_waited_for(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace, {RUNS_FOR: "5s"}))
    running_pod(api, namespace)
    cluster.restart_api_server()
    done = wait_for_state(api, namespace, "Succeeded", 120)
    assert len(done["status"]["attempts"]) == 1


def test_a_killed_operator_continues_where_it_was(api: Api, namespace: str, operator: OperatorProcess) -> None:
    api.create(quickstart(namespace))
    pod = running_pod(api, namespace)
    operator.kill()
    end_pod(api, pod)
    operator.start()
    done = wait_for_state(api, namespace, "Succeeded")
    assert len(done["status"]["attempts"]) == 1
