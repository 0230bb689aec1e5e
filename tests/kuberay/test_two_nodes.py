"""A run on two nodes with a real KubeRay: its RayJob becomes pods that train together, and lost attempts are resumed."""

from __future__ import annotations

import pytest

from tests.kind.kind_cluster import KindCluster, wait_for
from tests.kind.runs import RESEARCH, STORE_KEYS, Run, Start
from tests.kuberay.kuberay import left, pods, run_on_two_nodes

WHOLE = 1500
"""Time limit for a small run, in seconds."""
ROLLED_OUT = 900
"""Time limit for an attempt's first GRPO step, in seconds: on two cores two nodes start their engines in turn."""


@pytest.mark.timeout(1800)
def test_two_nodes_train_a_model_and_leave_only_what_is_stored(kuberay: KindCluster, start: Start) -> None:
    run = start(run_on_two_nodes("pair", kuberay.endpoint))
    stages: list[str] = []

    def over() -> bool:
        status = run.status()
        if (stage := status.get("stage")) and stage not in stages:
            stages.append(stage)
        return status.get("state") in ("Succeeded", "Failed")

    wait_for(over, WHOLE, "the run has no end")
    status = run.status()
    assert (status["state"], [each["reason"] for each in status["attempts"]]) == ("Succeeded", ["Completed"]), status
    assert stages[-3:] == ["sft", "grpo", "evaluate"]
    assert set(status["metrics"]) == {"chapter", "category", "code"}
    assert run.verified("grpo") == 2
    ranks = {file["path"] for file in run.manifest()["files"] if "model_world_size_2_rank_" in file["path"]}
    assert len(ranks) == 2
    address = run.status()["lastVerifiedCheckpoint"]["uri"].partition("/attempts/")[0].rpartition("/")[0]
    verified = kuberay.deepicd("artifacts", "verify", address, "--endpoint-url", kuberay.endpoint, environment=STORE_KEYS)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    used = ("rayjob", "raycluster", "pod", "service/", "persistentvolumeclaim")
    wait_for(lambda: not [each for each in left(run) if each.startswith(used)], 120, "what the attempt used is left")


@pytest.mark.timeout(600)
def test_a_run_that_is_suspended_while_its_nodes_start_frees_them_before_the_grace_period_is_over(
    kuberay: KindCluster, start: Start
) -> None:
    run = start(run_on_two_nodes("early", kuberay.endpoint))

    def waits_for_the_head() -> bool:
        if not (worker := pods(run).get("worker")):
            return False
        containers = kuberay.get("pod", worker, RESEARCH)["status"].get("initContainerStatuses") or [{}]
        return "running" in containers[0].get("state", {})

    wait_for(waits_for_the_head, 60, "no worker waits for its head")
    run.patch(suspend=True)
    with kuberay.timed("suspended at its start until the pods are gone"):
        wait_for(lambda: not pods(run), 60, "the pods are still there")
    assert run.wait_for_end(1)["reason"] == "Suspended"


@pytest.mark.timeout(900)
def test_a_deleted_head_is_followed_by_an_attempt_that_resumes(kuberay: KindCluster, start: Start) -> None:
    content = run_on_two_nodes("head", kuberay.endpoint)
    content["spec"]["stages"]["sft"] |= {"epochs": 100, "maxSteps": 3000, "saveEverySteps": 10}
    run = start(content)
    run.wait_for_verified("sft", 10)
    kuberay.kubectl("delete", "pod", pods(run)["head"], "-n", RESEARCH, "--wait=false")
    assert run.wait_for_end(1)["reason"] in ("Terminated", "PodDeleted")
    assert run.goes_on_from_its_last_checkpoint(2, "sft") >= 10


def in_grpo(start: Start, kuberay: KindCluster, name: str) -> Run:
    """A run that makes GRPO steps and saves a checkpoint only on request."""
    content = run_on_two_nodes(name, kuberay.endpoint)
    content["spec"]["stages"]["grpo"] |= {"epochs": 100, "maxSteps": 200, "saveEverySteps": 100}
    run = start(content)
    wait_for_steps(run, 1)
    return run


def wait_for_steps(run: Run, attempt: int) -> None:
    wait_for(lambda: len(run.steps(attempt, "grpo")) > 1, ROLLED_OUT, f"attempt {attempt} makes no steps of GRPO")


@pytest.mark.timeout(2400)
def test_a_worker_that_is_drained_saves_a_checkpoint_and_one_that_vanishes_costs_the_steps_since(
    kuberay: KindCluster, start: Start
) -> None:
    run = in_grpo(start, kuberay, "worker")
    with kuberay.timed("worker deleted in GRPO until the next attempt's first step"):
        kuberay.kubectl("delete", "pod", pods(run)["worker"], "-n", RESEARCH, "--wait=false")
        assert run.wait_for_end(1)["reason"] == "Terminated"
        # Including the replacement that KubeRay created.
        wait_for(lambda: not pods(run, 1), 60, "pods of the ended attempt hold what the next one needs")
        saved = run.goes_on_from_its_last_checkpoint(2, "grpo", ROLLED_OUT)
    assert saved >= 2
    wait_for_steps(run, 2)
    kuberay.kubectl("delete", "pod", pods(run)["worker"], "-n", RESEARCH, "--grace-period=0", "--force")
    with kuberay.timed("worker gone in GRPO until the attempt's end"):
        assert run.wait_for_end(2)["reason"] == "Crashed"
    wait_for(lambda: len(run.attempts()) == 3, 60, "no attempt follows")
    assert run.manifest(run.attempts()[2]["resumedFrom"])["step"] == saved


@pytest.mark.timeout(2400)
def test_a_run_that_is_suspended_in_grpo_resumes_and_a_deleted_one_leaves_nothing(kuberay: KindCluster, start: Start) -> None:
    run = in_grpo(start, kuberay, "pause")
    made = run.steps(1, "grpo")[-1]
    run.patch(suspend=True)
    with kuberay.timed("suspended in GRPO until the pods are gone"):
        assert run.wait_for_end(1)["reason"] == "Suspended"
        wait_for(lambda: not pods(run), 240, "the pods are still there")
    saved = run.verified("grpo")
    assert saved >= made
    run.patch(suspend=False)
    with kuberay.timed("resumed until the first step of GRPO"):
        assert run.goes_on_from_its_last_checkpoint(2, "grpo", ROLLED_OUT) == saved
    kuberay.kubectl("delete", "deepicdrun", run.name, "-n", RESEARCH)
    with kuberay.timed("deleted in GRPO until nothing is left"):
        wait_for(lambda: not left(run), 240, "something of the deleted run is left")
