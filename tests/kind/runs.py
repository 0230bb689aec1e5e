"""Runs in the kind cluster: small ones to apply, and their state."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise, takewhile
from typing import Any

import yaml

from deepicd.artifacts.layout import CheckpointRef
from tests.kind.kind_cluster import ACCESS_KEY, BUCKET, ROOT, SECRET_KEY, KindCluster, wait_for

RESEARCH = "research"
STORE_KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}
# The control plane shares the two cores: a trainer without a limit starves it.
COMPUTE = {
    "gpus": 1, "cpu": 0.5, "cpuLimit": 1.7, "memory": "11Gi", "sharedMemory": "2Gi", "imagePullPolicy": "IfNotPresent",
    "scratch": {"size": "10Gi"},
}  # fmt: skip
TINY = {"vocabulary": 1000, "hiddenSize": 64, "intermediateSize": 128, "layers": 1, "heads": 2}
"""A model whose GRPO steps take a few seconds, and whose SFT steps take half a second."""
SAVED_EVERY = 10
"""Steps of SFT between two checkpoints of an endless run."""
STARTED = 240
"""Time limit in seconds for a pod's first SFT steps, and for an attempt's end."""
ROLLED_OUT = 480
"""Time limit in seconds for a pod's first GRPO steps: the training stack starts twice."""


def readme_commands(heading: str) -> list[str]:
    """Return the lines of the first code block below a heading of the README."""
    below = (ROOT / "README.md").read_text().partition(f"\n{heading}\n")[2]
    lines = below[below.index("\n    ") :].lstrip("\n").splitlines()
    block = takewhile(lambda line: line.startswith("    "), lines)
    return [line.partition(" # ")[0].strip() for line in block]


def small_run(name: str, endpoint: str, **changes: Any) -> dict[str, Any]:
    """The quickstart with a few steps of each stage, kept in the cluster's store."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "manifests" / "samples" / "quickstart.yaml").read_text())
    spec = content["spec"]
    content["metadata"] = {"name": name, "namespace": RESEARCH}
    spec["data"]["synthetic"]["admissions"] = 400
    spec["stages"]["sft"] |= {"maxSteps": 8, "saveEverySteps": 4}
    spec["stages"]["grpo"] |= {"maxSteps": 3, "saveEverySteps": 1}
    spec["stages"]["evaluate"] = {"maxAdmissions": 16, "samples": 1, "bootstrapSamples": 0}
    spec["compute"] = dict(COMPUTE)
    spec["recovery"] |= {"backoff": "1s", "gracePeriod": "2m", "stallAfter": "15m"}
    spec["storage"] = {
        "s3": {"endpoint": endpoint, "bucket": BUCKET, "prefix": "deepicd", "credentials": {"secretName": "s3-keys"}}
    }
    spec |= changes
    return content


def four_gpu_run(name: str, endpoint: str) -> dict[str, Any]:
    """One whose four ranks, with a vLLM each, share the cores of this machine."""
    content = small_run(name, endpoint, compute={**COMPUTE, "gpus": 4, "memory": "18Gi", "sharedMemory": "4Gi"})
    spec = content["spec"]
    spec["model"]["tiny"] = TINY
    spec["stages"]["sft"] |= {"maxSteps": 2, "saveEverySteps": 2, "microBatchSizePerGpu": 4}
    spec["stages"]["grpo"] |= {"maxSteps": 2, "microBatchSizePerGpu": 4}
    return content


def long_run(name: str, endpoint: str) -> dict[str, Any]:
    """A run that stays in SFT, which restarts quickly, for longer than the tests take."""
    content = small_run(name, endpoint)
    content["spec"]["model"]["tiny"] = TINY
    content["spec"]["stages"]["sft"] |= {"epochs": 2000, "maxSteps": 30_000, "saveEverySteps": SAVED_EVERY}
    return content


class Run:
    """A run in the cluster."""

    def __init__(self, kind: KindCluster, name: str) -> None:
        self.kind = kind
        self.name = name

    def status(self) -> dict[str, Any]:
        """Its status; empty before the operator has seen it."""
        return dict(self.kind.get("deepicdrun", self.name, RESEARCH).get("status") or {})

    def reason(self) -> str:
        """The reason in its status."""
        return str(self.status().get("reason"))

    def attempts(self) -> list[dict[str, Any]]:
        """The attempts in its status, oldest first."""
        return list(self.status().get("attempts") or [])

    def attempt(self) -> int:
        """Number of its current attempt."""
        return int(self.attempts()[-1]["number"])

    def is_in(self, attempt: int) -> bool:
        """Whether this is its current attempt, which has not ended."""
        last = self.attempts()[-1]
        return last["number"] == attempt and not last.get("reason")

    def pod(self, attempt: int) -> str:
        """Name of an attempt's pod; empty before there is one."""
        return next((str(each.get("pod") or "") for each in self.attempts() if each["number"] == attempt), "")

    def patch(self, **spec: Any) -> None:
        """Change fields of its spec."""
        change = json.dumps({"spec": spec})
        self.kind.kubectl("patch", "deepicdrun", self.name, "-n", RESEARCH, "--type=merge", "-p", change)

    def lines(self, attempt: int, event: str) -> list[dict[str, Any]]:
        """The log lines of one event from an attempt's trainer; none while the pod has no log."""
        if not (pod := self.pod(attempt)):
            return []
        done = self.kind.run("kubectl", "logs", pod, "-n", RESEARCH, "-c", "trainer")
        lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == event]

    def steps(self, attempt: int, stage: str) -> list[int]:
        """Steps of training that an attempt has made in a stage so far."""
        return [line["step"] for line in self.lines(attempt, "step") if line["stage"] == stage and "loss" in line]

    def verified(self, stage: str) -> int:
        """Step of the last verified checkpoint, if it is of this stage, else 0."""
        checkpoint = self.status().get("lastVerifiedCheckpoint") or {}
        return int(checkpoint["step"]) if checkpoint.get("stage") == stage else 0

    def wait_for_verified(self, stage: str, step: int, seconds: float = STARTED) -> int:
        """Wait for a verified checkpoint of at least this step, and return its step."""
        what = f"{self.name}: no checkpoint of {stage} at step {step} or later"
        return int(wait_for(lambda: (made := self.verified(stage)) >= step and made, seconds, what))

    def wait_for_end(self, attempt: int, seconds: float = STARTED) -> dict[str, Any]:
        """Wait for the end of an attempt, and return its entry in the status."""

        def over() -> dict[str, Any] | None:
            return next((each for each in self.attempts() if each["number"] == attempt and each.get("reason")), None)

        found: dict[str, Any] = wait_for(over, seconds, f"{self.name}: attempt {attempt} has not ended")
        return found

    def goes_on_from_its_last_checkpoint(self, attempt: int, stage: str, seconds: float = STARTED) -> int:
        """The step that an attempt resumed from: checked against its log, its first step, its status and the manifest."""
        what = f"{self.name}: attempt {attempt} makes no step of {stage}"
        first = int(wait_for(lambda: self.steps(attempt, stage), seconds, what)[0])
        (restored,) = (line["what"] for line in self.lines(attempt, "restored") if line["stage"] == stage)
        ref = CheckpointRef(int(restored.removeprefix("attempt ").partition(",")[0]), stage, first - 1)
        assert restored == str(ref)

        def known() -> str | None:
            said = (each.get("resumedFrom") or "" for each in self.attempts() if each["number"] == attempt)
            return next((address for address in said if address.endswith(f"/{ref.folder}")), None)

        address = wait_for(known, 30, f"{self.name}: the status does not say that attempt {attempt} went on from {ref}")
        assert self.manifest(address)["step"] == ref.step
        return ref.step

    def manifest(self, address: str | None = None) -> dict[str, Any]:
        """The manifest of a checkpoint in the store, by default of the last verified one."""
        place = address or self.status()["lastVerifiedCheckpoint"]["uri"]
        found: dict[str, Any] = json.loads(self.kind.stored(f"{place.removeprefix(f's3://{BUCKET}/')}/manifest.json"))
        return found

    def start_up(self, attempt: int) -> dict[str, float]:
        """Seconds of each part from `kubectl apply` to the first step of GRPO, for a run without SFT.

        The attempt must still be running.
        """
        pod = self.kind.get("pod", self.pod(attempt), RESEARCH)
        conditions = {each["type"]: each["lastTransitionTime"] for each in pod["status"]["conditions"]}
        state = pod["status"]["containerStatuses"][0]["state"]
        started = {line["stage"]: line["timestamp"] for line in self.lines(attempt, "stage started")}
        grpo = {line["step"]: line["timestamp"] for line in self.lines(attempt, "step") if line["stage"] == "grpo"}
        processes = self._processes(attempt, "ray::TaskRunner", "ray::vLLMHttpServer", "ray::AgentLoopWorker")
        moments = [
            ("", self.kind.get("deepicdrun", self.name, RESEARCH)["metadata"]["creationTimestamp"]),
            ("Job made, pod placed", conditions["PodScheduled"]),
            ("sidecar and trainer started", (state.get("running") or state["terminated"])["startedAt"]),
            ("Python", started["prepare"]),
            ("tables, cohort, tiny model", started["grpo"]),
            ("libraries, Ray", processes["ray::TaskRunner"]),
            ("trainer and rank", processes["ray::vLLMHttpServer"]),
            ("vLLM", processes["ray::AgentLoopWorker"]),
            ("first rollouts", grpo[0]),
            ("first step of GRPO", grpo[1]),
        ]
        return {
            what: (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
            for (_, begin), (what, end) in pairwise(moments)
        }

    def _processes(self, attempt: int, *names: str) -> dict[str, str]:
        """When the first process of each name started in a running attempt's trainer."""
        command = ("ps", "-e", "-o", "etimes=,args=", "--sort=start_time")
        listed = self.kind.kubectl("exec", self.pod(attempt), "-n", RESEARCH, "-c", "trainer", "--", *command)
        now = datetime.now(UTC)
        lines = [line.split(maxsplit=1) for line in listed.splitlines()]
        ages = {name: next(int(age) for age, what in lines if what.startswith(name)) for name in names}
        return {name: (now - timedelta(seconds=age)).isoformat() for name, age in ages.items()}

    def objects(self) -> list[str]:
        """Its objects in its namespace."""
        kinds = "jobs,pods,configmaps,serviceaccounts,roles,rolebindings,networkpolicies,deepicdruns"
        return self.kind.kubectl("get", kinds, "-n", RESEARCH, "-l", f"deepicd.io/run={self.name}", "-o", "name").split()

    def delete(self) -> None:
        """Delete it, and wait until all its objects are gone. Pods that stay are killed: the next test needs their GPUs."""
        self.kind.kubectl("delete", "deepicdrun", self.name, "-n", RESEARCH, "--ignore-not-found", "--wait=false")
        try:
            wait_for(lambda: not self.objects(), 180, f"objects of {self.name}, which is deleted, are left")
        except AssertionError:
            selector = f"deepicd.io/run={self.name}"
            self.kind.run("kubectl", "delete", "pods", "-n", RESEARCH, "-l", selector, "--grace-period=0", "--force")
            raise


@contextmanager
def applied(kind: KindCluster, *contents: dict[str, Any]) -> Iterator[dict[str, Run]]:
    """Apply runs together and yield them by name. They are deleted with all their objects in any case."""
    runs = {content["metadata"]["name"]: Run(kind, content["metadata"]["name"]) for content in contents}
    with ExitStack() as stack:
        for run in runs.values():
            stack.callback(run.delete)
        kind.apply(*contents)
        yield runs


Start = Callable[[dict[str, Any]], Run]
"""Applies a run, as the fixture `start` does."""
