"""Watch events are late, wrong or missing, and reads fail: a run ends in the same way, without a restart of the operator."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from deepicd.spec.progress import Failure, FailureCode, write
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.api_call import Call
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import Fault, FaultProxy
from tests.cluster.operated import USER, attempts, ended, quickstart, report, run_of, running_pod, wait_for_state
from tests.cluster.operator_process import OperatorProcess
from tests.cluster.pods import RUNS_FOR, end_pod

pytestmark = pytest.mark.usefixtures("run_definition")

Deceit = Callable[[Call, Raw], list[Raw]]
EXPIRED = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 410, "reason": "Expired", "message": "too old"}
BROKEN = {**EXPIRED, "code": 500, "reason": "InternalError", "message": "etcdserver: request timed out"}
STORE = {"s3": {"bucket": "models", "credentials": {"secretName": "s3-keys"}}}


@pytest.fixture(autouse=True)
def one_process(operator: OperatorProcess) -> Iterator[None]:
    """Check that the operator was not restarted and met no bug of its own."""
    pid = operator.pid
    yield
    assert (operator.running, operator.pid) == (True, pid)
    assert "Traceback" not in operator.log.read_text()


def assert_one_crash_and_one_success(api: Api, namespace: str) -> None:
    api.create(quickstart(namespace))
    end_pod(api, running_pod(api, namespace), 70)
    end_pod(api, running_pod(api, namespace, 2))
    done = wait_for_state(api, namespace, "Succeeded", 120)
    assert [each["reason"] for each in done["status"]["attempts"]] == ["Crashed", "Completed"]
    assert sorted(job["metadata"]["name"] for job in api.list("Job", namespace)) == ["quickstart-a1", "quickstart-a2"]


def drop_every_other() -> Deceit:
    count = itertools.count()
    return lambda _, event: [event] if next(count) % 2 else []


def tell_twice() -> Deceit:
    return lambda _, event: [event, event]


def tell_what_was_before() -> Deceit:
    """After each event of an object, repeat the one before it, as a server that lags behind does."""
    before: dict[str, Raw] = {}

    def repeat(_: Call, event: Raw) -> list[Raw]:
        uid = event["object"]["metadata"].get("uid", "")
        old, before[uid] = before.get(uid), event
        return [event, old] if old is not None else [event]

    return repeat


def break_off(error: Raw, times: int) -> Deceit:
    """End this many watches with an error instead of their first event."""
    left = itertools.chain(itertools.repeat(True, times), itertools.repeat(False))
    return lambda _, event: [{"type": "ERROR", "object": error}] if event["type"] != "BOOKMARK" and next(left) else [event]


@pytest.mark.parametrize(
    "deceit",
    [drop_every_other, tell_twice, tell_what_was_before, lambda: break_off(EXPIRED, 6), lambda: break_off(BROKEN, 2)],
    ids=["dropped", "twice", "late", "expired", "broken"],
)
def test_faulty_watches_change_nothing_about_the_end(
    api: Api, namespace: str, proxy: FaultProxy, deceit: Callable[[], Deceit]
) -> None:
    proxy.alter_watch = deceit()
    assert_one_crash_and_one_success(api, namespace)


@pytest.mark.parametrize("status", [401, 404, 503])
def test_failed_reads_are_retried(api: Api, namespace: str, proxy: FaultProxy, status: int) -> None:
    def is_own_read(call: Call) -> bool:
        return call.user == USER and call.verb in ("get", "list", "watch") and bool(call.resource)

    fault = proxy.fail(Fault(is_own_read, status=status, times=8))
    proxy.cut_watches()
    assert_one_crash_and_one_success(api, namespace)
    wait_for(lambda: fault.times == 0, 60, lambda: fault)


def test_a_write_without_an_answer_is_retried(api: Api, namespace: str, proxy: FaultProxy) -> None:
    # Longer than the operator waits for an answer.
    stuck = proxy.fail(Fault(lambda call: call.user == USER and call.is_write and call.resource == "jobs", delay=60))
    api.create(quickstart(namespace, {RUNS_FOR: "0s"}))
    done = wait_for_state(api, namespace, "Succeeded", 120)
    assert (stuck.times, len(done["status"]["attempts"])) == (0, 1)


def test_an_api_server_that_is_down_while_an_attempt_ends_is_waited_for(
    cluster: ControlPlane, api: Api, namespace: str, operator: OperatorProcess
) -> None:
    api.create(quickstart(namespace))
    pod = running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    with cluster.api_server_down():
        wait_for(lambda: "cannot answer" in operator.log.read_text(), 60, operator.tail)
    end_pod(api, pod, 70)
    assert ended(api, namespace)["reason"] == "Crashed"
    end_pod(api, running_pod(api, namespace, 2))
    wait_for_state(api, namespace, "Succeeded")


def failure(code: FailureCode) -> str:
    return write(Failure(code=code, message="grpo: loss at step 7 is nan: lower learningRate"))


def running_unheard(api: Api, proxy: FaultProxy, kind: str, run: Raw) -> Raw:
    """Return the pod of a run whose operator has seen it running, and then gets no more events of a kind."""
    namespace = run["metadata"]["namespace"]
    api.create(run)
    pod = running_pod(api, namespace)
    wait_for_state(api, namespace, "Running")
    assert proxy.silence_watches(kind, new_ones=True) == 1
    return pod


def last_words() -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="seconds")
    checkpoint = {"stage": "grpo", "step": 10, "uri": "s3://models/x", "sha256": "a" * 64, "time": now}
    return {"stage": "grpo", "step": 15, "steps": 15, "time": now, "checkpoint": checkpoint}


@pytest.mark.parametrize(
    ("reason", "exit_code", "how"),
    [
        ("StoreUnreachable", 0, {"sidecar_exit_code": 75}),
        ("OutOfMemory", 137, {"reason": "OOMKilled"}),
        ("NotANumber", 64, {"termination_log": failure(FailureCode.NOT_A_NUMBER)}),
    ],
)
def test_why_an_attempt_ended_is_known_if_only_its_job_was_seen(
    api: Api, namespace: str, proxy: FaultProxy, reason: str, exit_code: int, how: dict[str, Any]
) -> None:
    pod = running_unheard(api, proxy, "pods", quickstart(namespace, storage=STORE))
    end_pod(api, pod, exit_code, **how)
    assert ended(api, namespace)["reason"] == reason


def test_the_last_checkpoint_of_a_failed_attempt_is_known_if_no_report_was_seen(
    api: Api, namespace: str, proxy: FaultProxy
) -> None:
    pod = running_unheard(api, proxy, "configmaps", quickstart(namespace))
    report(api, namespace, **last_words())
    end_pod(api, pod, 70)
    ended(api, namespace)
    running_pod(api, namespace, 2)
    assert attempts(api, namespace)[1]["resumedFrom"] == "s3://models/x"


def test_last_reports_after_a_success_are_recorded(api: Api, namespace: str, proxy: FaultProxy) -> None:
    pod = running_unheard(api, proxy, "configmaps", quickstart(namespace))
    # Nor do the full lists, which come every few seconds, find the reports before the end.
    unlisted = Fault(lambda call: (call.user, call.verb, call.resource) == (USER, "list", "configmaps"), status=503, times=1000)
    proxy.fail(unlisted)
    report(api, namespace, **last_words())
    end_pod(api, pod)
    done = wait_for_state(api, namespace, "Succeeded")["status"]
    assert "lastVerifiedCheckpoint" not in done
    unlisted.times = 0
    wait_for(lambda: "lastVerifiedCheckpoint" in run_of(api, namespace)["status"], 90, lambda: run_of(api, namespace)["status"])
    late = run_of(api, namespace)["status"]
    assert (late["step"], late["lastVerifiedCheckpoint"]["uri"]) == (15, "s3://models/x")
    assert (late["state"], late["completionTime"]) == (done["state"], done["completionTime"])


def test_a_deleted_pod_is_known_to_be_gone_if_only_its_job_was_seen(api: Api, namespace: str, proxy: FaultProxy) -> None:
    pod = running_unheard(api, proxy, "pods", quickstart(namespace))
    api.delete("Pod", pod["metadata"]["name"], namespace, grace=0)
    assert ended(api, namespace)["reason"] == "PodDeleted"


def test_what_broken_or_silent_watches_missed_is_repaired(
    api: Api, namespace: str, operator: OperatorProcess, proxy: FaultProxy
) -> None:
    wait_for(lambda: proxy.watches("jobs") > 0 and proxy.watches("deepicdruns") > 0, 30, "nothing is watched")
    assert proxy.silence_watches("jobs") == 1
    assert proxy.cut_watches("deepicdruns") == 1
    api.create(quickstart(namespace, {RUNS_FOR: "1s"}))
    wait_for_state(api, namespace, "Succeeded", 90)
