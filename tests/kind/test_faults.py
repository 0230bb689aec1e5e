"""Faults of a real cluster during a run: each ends as documented, and a run resumes from the last verified checkpoint."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator

import pytest

from tests.kind.conftest import FAILED
from tests.kind.kind_cluster import CHART, SYSTEM, KindCluster, wait_for
from tests.kind.runs import (
    RESEARCH,
    ROLLED_OUT,
    SAVED_EVERY,
    STARTED,
    STORE_KEYS,
    TINY,
    Run,
    Start,
    long_run,
    small_run,
)

OUTAGE = 120
"""Seconds that the store is down."""


@pytest.fixture(scope="module")
def endured() -> Iterator[list[Run]]:
    """The run of `enduring`, once a test has needed it; none after a test that failed."""
    runs: list[Run] = []
    yield runs
    for run in runs:
        run.delete()


@pytest.fixture
def enduring(kind: KindCluster, endured: list[Run], request: pytest.FixtureRequest) -> Iterator[Run]:
    """A run that goes through one fault after another: each test finds it in the attempt that the last test left it in, and
    has a new one where that test failed.
    """
    if not endured:
        content = long_run(f"enduring-{secrets.token_hex(2)}", kind.endpoint)
        kind.apply(content)
        endured.append(Run(kind, content["metadata"]["name"]))
    yield endured[0]
    if request.node.stash.get(FAILED, False):
        endured.pop().delete()


def training(run: Run) -> tuple[int, int]:
    """Its attempt and its last verified checkpoint's step, once this attempt has made a new one."""
    saved = run.wait_for_verified("sft", run.verified("sft") + SAVED_EVERY)
    return run.attempt(), saved


@pytest.mark.timeout(1800)
def test_a_killed_trainer_resumes_and_a_deleted_run_leaves_only_what_is_stored(kind: KindCluster, start: Start) -> None:
    content = small_run("killed", kind.endpoint)
    content["spec"]["model"]["tiny"] = TINY
    del content["spec"]["stages"]["sft"]
    content["spec"]["stages"]["grpo"] |= {"epochs": 100, "maxSteps": 200}
    run = start(content)
    run.wait_for_verified("grpo", 2, ROLLED_OUT)
    kind.timings |= {f"apply to first GRPO step: {part}": seconds for part, seconds in run.start_up(1).items()}
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
def test_a_deleted_pod_is_followed_by_another_that_resumes(kind: KindCluster, enduring: Run) -> None:
    attempt, saved = training(enduring)
    kind.kubectl("delete", "pod", enduring.pod(attempt), "-n", RESEARCH, "--wait=false")
    assert enduring.wait_for_end(attempt)["reason"] == "PodDeleted"
    assert enduring.goes_on_from_its_last_checkpoint(attempt + 1, "sft") >= saved


@pytest.mark.timeout(900)
def test_a_suspended_run_stops_with_a_durable_checkpoint_and_resumes_from_it(enduring: Run) -> None:
    attempt, _ = training(enduring)
    enduring.patch(suspend=True)
    assert enduring.wait_for_end(attempt)["reason"] == "Suspended"
    wait_for(lambda: not [each for each in enduring.objects() if each.startswith("pod")], STARTED, "the pod is still there")
    saved = enduring.verified("sft")
    enduring.patch(suspend=False)
    assert enduring.goes_on_from_its_last_checkpoint(attempt + 1, "sft") == saved


@pytest.mark.timeout(900)
def test_a_store_that_is_down_for_two_minutes_delays_only_checkpoints(kind: KindCluster, enduring: Run) -> None:
    attempt, saved = training(enduring)
    with kind.store_away():
        away = time.monotonic()
        stepped = enduring.steps(attempt, "sft")[-1]
        wait_for(lambda: time.monotonic() - away > OUTAGE, OUTAGE + 30, "the outage is over")
        assert enduring.steps(attempt, "sft")[-1] > stepped + SAVED_EVERY, "training waits for the store"
    enduring.wait_for_verified("sft", max(saved, stepped) + SAVED_EVERY)
    assert enduring.is_in(attempt)


@pytest.mark.timeout(900)
def test_a_run_does_not_notice_that_its_operator_is_deleted_and_upgraded(kind: KindCluster, enduring: Run) -> None:
    attempt, _ = training(enduring)
    pod = kind.get("pod", enduring.pod(attempt), RESEARCH)["metadata"]["uid"]
    selector = ("-l", "app.kubernetes.io/component=operator", "-n", SYSTEM)
    kind.kubectl("delete", "pod", *selector, "--grace-period=0", "--force")
    kind.must(
        "helm", "upgrade", "deepicd", str(CHART), "--namespace", SYSTEM, "--reuse-values", "--wait", "--timeout", "180s",
        "--set", f"podAnnotations.upgraded=at-{time.time():.0f}",
    )  # fmt: skip
    enduring.wait_for_verified("sft", enduring.verified("sft") + 2 * SAVED_EVERY)
    assert enduring.is_in(attempt)
    assert kind.get("pod", enduring.pod(attempt), RESEARCH)["metadata"]["uid"] == pod


@pytest.mark.timeout(900)
def test_a_node_that_stops_and_starts_costs_an_attempt_and_no_checkpoint(kind: KindCluster, enduring: Run) -> None:
    attempt, saved = training(enduring)
    kind.restart_node()
    assert enduring.wait_for_end(attempt)["reason"] in ("NodeLost", "Terminated", "Crashed", "PodDeleted")
    assert enduring.goes_on_from_its_last_checkpoint(attempt + 1, "sft") >= saved
