"""Faults of a real cluster in mid-run: each ends as documented, and what goes on goes on from the last verified checkpoint."""

from __future__ import annotations

import time

import pytest

from tests.kind.conftest import SYSTEM
from tests.kind.kind_cluster import CHART, KindCluster, wait_for
from tests.kind.runs import RESEARCH, ROLLED_OUT, STARTED, STORE_KEYS, Start, long_run, small_run

OUTAGE = 120
"""Seconds that the store is away for."""


@pytest.mark.timeout(1800)
def test_a_killed_trainer_goes_on_and_a_deleted_run_leaves_only_what_is_stored(kind: KindCluster, start: Start) -> None:
    content = small_run("killed", kind.endpoint)
    content["spec"]["stages"]["grpo"] |= {"epochs": 100, "maxSteps": 200}
    run = start(content)
    run.wait_for_verified("grpo", 2, ROLLED_OUT)
    kind.kubectl("exec", run.pod(1), "-n", RESEARCH, "-c", "trainer", "--", "pkill", "-KILL", "-f", "^ray::WorkerDict")
    with kind.timed("trainer killed in GRPO until the next attempt's first step"):
        assert run.wait_for_end(1)["reason"] == "Crashed"
        saved = run.goes_on_from_its_last_checkpoint(2, "grpo", ROLLED_OUT)
    address = run.status()["lastVerifiedCheckpoint"]["uri"].partition("/attempts/")[0].rpartition("/")[0]
    run.delete()
    verified = kind.deepicd("artifacts", "verify", address, "--endpoint-url", kind.endpoint, environment=STORE_KEYS)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert f"/attempts/1/checkpoints/step-{saved:06}: " in verified.stdout


@pytest.mark.timeout(900)
def test_a_deleted_pod_is_followed_by_another_that_goes_on(kind: KindCluster, start: Start) -> None:
    run = start(long_run("deleted", kind.endpoint))
    run.wait_for_verified("sft", 10)
    kind.kubectl("delete", "pod", run.pod(1), "-n", RESEARCH, "--wait=false")
    assert run.wait_for_end(1)["reason"] == "PodDeleted"
    assert run.goes_on_from_its_last_checkpoint(2, "sft") >= 10


@pytest.mark.timeout(900)
def test_a_suspended_run_ends_with_a_durable_checkpoint_and_goes_on_from_it(kind: KindCluster, start: Start) -> None:
    run = start(long_run("suspended", kind.endpoint))
    run.wait_for_verified("sft", 10)
    run.patch(suspend=True)
    assert run.wait_for_end(1)["reason"] == "Suspended"
    wait_for(lambda: not [each for each in run.objects() if each.startswith("pod")], STARTED, "the pod goes on")
    saved = run.verified("sft")
    run.patch(suspend=False)
    assert run.goes_on_from_its_last_checkpoint(2, "sft") == saved


@pytest.mark.timeout(900)
def test_a_store_that_is_away_for_two_minutes_delays_checkpoints_and_nothing_else(kind: KindCluster, start: Start) -> None:
    run = start(long_run("no-store", kind.endpoint))
    before = run.wait_for_verified("sft", 10)
    kind.kubectl("scale", "deployment/seaweed", "-n", "store", "--replicas=0")
    kind.kubectl("wait", "pod", "-l", "app=seaweed", "-n", "store", "--for=delete", "--timeout=120s")
    away = time.monotonic()
    stepped = run.steps(1, "sft")[-1]
    wait_for(lambda: time.monotonic() - away > OUTAGE, OUTAGE + 30, "the outage is over")
    assert run.steps(1, "sft")[-1] > stepped + 10, "training waits for the store"
    kind.kubectl("scale", "deployment/seaweed", "-n", "store", "--replicas=1")
    kind.kubectl("rollout", "status", "deployment/seaweed", "-n", "store", "--timeout=120s")
    run.wait_for_verified("sft", max(before, stepped) + 10)
    assert [each.get("reason") for each in run.attempts()] == [None]


@pytest.mark.timeout(900)
def test_a_run_does_not_notice_that_its_operator_is_deleted_and_upgraded(kind: KindCluster, start: Start) -> None:
    run = start(long_run("unmoved", kind.endpoint))
    run.wait_for_verified("sft", 10)
    pod = kind.get("pod", run.pod(1), RESEARCH)["metadata"]["uid"]
    selector = ("-l", "app.kubernetes.io/component=operator", "-n", SYSTEM)
    kind.kubectl("delete", "pod", *selector, "--grace-period=0", "--force")
    kind.must(
        "helm", "upgrade", "deepicd", str(CHART), "--namespace", SYSTEM, "--reuse-values", "--wait", "--timeout", "180s",
        "--set", f"podAnnotations.upgraded=at-{time.time():.0f}",
    )  # fmt: skip
    run.wait_for_verified("sft", run.verified("sft") + 20)
    assert [each.get("reason") for each in run.attempts()] == [None]
    assert kind.get("pod", run.pod(1), RESEARCH)["metadata"]["uid"] == pod


@pytest.mark.timeout(900)
def test_a_node_that_stops_and_starts_costs_an_attempt_and_no_checkpoint(kind: KindCluster, start: Start) -> None:
    run = start(long_run("no-node", kind.endpoint))
    run.wait_for_verified("sft", 10)
    kind.restart_node()
    assert run.wait_for_end(1)["reason"] in ("NodeLost", "Terminated", "Crashed", "PodDeleted")
    assert run.goes_on_from_its_last_checkpoint(2, "sft") >= 10
