"""From `kubectl apply` to the pod: DeepICD's operator beside Kubeflow Trainer, on one API server.

    python benchmarks/apply_to_pod.py [--peer FOLDER] [--burst 1000]

A real etcd, API server, scheduler and controller manager (KUBEBUILDER_ASSETS, or what `make cluster-tools` has built), with
kwok for the kubelets: pods of one GPU that end after a second. The contenders run in turn, each with its own control plane.
FOLDER is a Go module with `github.com/kubeflow/trainer/v2 v2.0.0` and `sigs.k8s.io/jobset v0.8.2` whose controllers are built
in its `bin/` as `trainer` and `jobset`; without --peer only ours is measured. Printed: seconds from the create call until the
pod is first seen in a watch, one by one and in bursts; until all are started and finished; API requests per run, watches left
out (through a counting proxy); CPU per run and peak memory of the controllers; seconds from a pod's loss to the next one.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import tempfile
import threading
import time
import types
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import Any, Protocol

import psutil

ROOT = Path(__file__).parents[1]
# By its path: verl installs a package `tests` that hides ours.
_tests = types.ModuleType("tests")
_tests.__path__ = [str(ROOT / "tests")]
sys.modules["tests"] = _tests

from tests.cluster.api import Api, Raw, UnansweredError, wait_for  # noqa: E402
from tests.cluster.api_call import Call  # noqa: E402
from tests.cluster.binaries import find_binaries  # noqa: E402
from tests.cluster.control_plane import ControlPlane  # noqa: E402
from tests.cluster.fault_proxy import FaultProxy  # noqa: E402
from tests.cluster.nodes import add_nodes, fake_node  # noqa: E402
from tests.cluster.operated import USER, quickstart  # noqa: E402
from tests.cluster.operator_process import OperatorProcess  # noqa: E402
from tests.cluster.pods import RUNS_FOR  # noqa: E402

ALONE, COUNTED, LOST = 30, 20, 5
NODE = "benchmark"
WORK = ("get", "list", "create", "update", "patch", "delete", "deletecollection")
"""What counts as a request: watches are left out."""
QUIET = 3
"""Seconds without a new request after which the work is done."""


class Contender(Protocol):
    """A controller that creates pods for objects."""

    name: str
    kind: str
    label: str
    """Label of its pods that holds the object's name."""

    def install(self, plane: ControlPlane, server: str, folder: Path) -> None:
        """Install CRDs and permissions, once for a control plane."""

    def start(self) -> list[psutil.Process]:
        """Start its controllers; returns once they serve."""

    def stop(self) -> None:
        """End them."""

    def content(self, name: str, namespace: str, seconds: int) -> Raw:
        """An object whose pod runs for `seconds`."""


class DeepICD:
    """Our operator."""

    name, kind, label = "DeepICD", "DeepICDRun", "deepicd.io/run"

    def install(self, plane: ControlPlane, server: str, folder: Path) -> None:
        from deepicd_operator.crd import crd
        from deepicd_operator.permissions import CLUSTER, NAMESPACED

        plane.api.apply(crd())
        rules = [*NAMESPACED, *CLUSTER]
        group = "rbac.authorization.k8s.io"
        plane.api.apply({"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": USER}, "rules": rules})
        plane.api.apply({
            "apiVersion": f"{group}/v1", "kind": "ClusterRoleBinding", "metadata": {"name": USER},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": USER},
            "subjects": [{"apiGroup": group, "kind": "User", "name": USER}],
        })  # fmt: skip
        self.process = OperatorProcess(plane.kubeconfig_of(USER, server=server), folder)

    def start(self) -> list[psutil.Process]:
        self.process.start()
        self.process.wait_until_serving()
        return [psutil.Process(self.process.pid)]

    def stop(self) -> None:
        self.process.kill()

    def content(self, name: str, namespace: str, seconds: int) -> Raw:
        made = quickstart(namespace, {RUNS_FOR: f"{seconds}s"}, compute__nodeSelector={"pool": NODE})
        return {**made, "metadata": {"name": name, "namespace": namespace}}


class Sightings:
    """When each object's pods were first seen, and which have ended; watches in its own thread."""

    def __init__(self, plane: ControlPlane, label: str, namespace: str) -> None:
        self.seen: dict[str, list[float]] = {}
        self.ended: set[str] = set()
        self._label, self._namespace = label, namespace
        self._api = Api(plane.kubeconfig)
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        known: set[str] = set()
        with suppress(UnansweredError):  # the end of the control plane
            while True:  # the API server closes a watch that reads too slowly
                for event, pod in self._api.watch("Pod", self._namespace):
                    name = pod["metadata"]["labels"].get(self._label, "")
                    if event == "ADDED" and pod["metadata"]["uid"] not in known:
                        known.add(pod["metadata"]["uid"])
                        self.seen.setdefault(name, []).append(time.monotonic())
                    if (pod.get("status") or {}).get("phase") == "Succeeded":
                        self.ended.add(name)


class Bench:
    """One contender on one control plane."""

    def __init__(self, plane: ControlPlane, contender: Contender) -> None:
        self.plane, self.contender = plane, contender

    @contextmanager
    def namespace(self, name: str) -> Iterator[Sightings]:
        """A new namespace, and the sightings of its pods."""
        api = self.plane.api
        api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        wait_for(lambda: api.find("ServiceAccount", "default", name), 30, "the namespace has no ServiceAccount")
        yield Sightings(self.plane, self.contender.label, name)

    def latencies(self, space: str, count: int, seconds: int, workers: int) -> tuple[list[float], float, float]:
        """Each object's seconds to its pod; seconds until all pods existed, and until all had ended."""
        with self.namespace(space) as pods, ThreadPoolExecutor(workers) as pool:
            asked: dict[str, float] = {}
            contents = [self.contender.content(f"run-{number}", space, seconds) for number in range(count)]

            def create(content: Raw) -> None:
                name = content["metadata"]["name"]
                asked[name] = time.monotonic()
                self.plane.api.create(content)
                if workers == 1:
                    wait_for(lambda: name in pods.seen, 120, f"{name} has no pod")

            began = time.monotonic()
            list(pool.map(create, contents))
            wait_for(lambda: len(pods.seen) == count, 900, lambda: f"{len(pods.seen)} of {count} have pods")
            started = max(each[0] for each in pods.seen.values()) - began
            wait_for(lambda: len(pods.ended) == count, 900, lambda: f"{len(pods.ended)} of {count} have ended")
            ended = time.monotonic() - began
        return [pods.seen[name][0] - asked[name] for name in asked], started, ended

    def lost_pods(self, space: str) -> list[float]:
        """Seconds from the end of a deleted pod to the next one."""
        api, found = self.plane.api, []
        with self.namespace(space) as pods:
            for number in range(LOST):
                name = f"run-{number}"
                api.create(self.contender.content(name, space, 3600))
                wait_for(lambda name=name: name in pods.seen, 60, f"{name} has no pod")  # type: ignore[misc]

                def running(name: str = name) -> Raw | None:
                    mine = [
                        each for each in api.list("Pod", space) if each["metadata"]["labels"].get(self.contender.label) == name
                    ]
                    return next((each for each in mine if each["status"].get("phase") == "Running"), None)

                pod = wait_for(running, 60, f"{name} does not run")
                began = time.monotonic()
                api.delete("Pod", pod["metadata"]["name"], space, grace=0)
                wait_for(lambda name=name: len(pods.seen[name]) > 1, 120, f"{name} has no second pod")  # type: ignore[misc]
                found.append(pods.seen[name][1] - began)
        return found

    def run(self, burst: int) -> None:
        """Print all measurements."""
        processes = self.contender.start()
        peak = Peak(processes)
        try:
            alone, _, _ = self.latencies(f"{self.contender.kind.lower()}-alone", ALONE, 1, 1)
            self._print(f"alone ({ALONE})", alone)
            for count in (100, burst):
                before = sum(cpu(each) for each in processes)
                found, started, ended = self.latencies(f"{self.contender.kind.lower()}-{count}", count, 1, 16)
                used = (sum(cpu(each) for each in processes) - before) / count
                self._print(f"burst of {count}", found)
                print(f"{'':12} {'':16} all started {started:6.1f} s, all ended {ended:6.1f} s ({count / ended:.1f}/s), "
                      f"CPU {1000 * used:.1f} ms a run, peak memory {peak.mebibytes:.0f} MiB", flush=True)  # fmt: skip
            self._print("pod lost", self.lost_pods(f"{self.contender.kind.lower()}-lost"))
        finally:
            peak.stop()
            self.contender.stop()

    def _print(self, what: str, seconds: list[float]) -> None:
        cuts = quantiles(seconds, n=100, method="inclusive")
        print(f"{self.contender.name:12} {what:16} p50 {cuts[49]:6.2f} s  p99 {cuts[98]:6.2f} s", flush=True)


class Peak:
    """Largest memory (RSS) that processes have together."""

    def __init__(self, processes: list[psutil.Process]) -> None:
        self.mebibytes = 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._look, args=(processes,), daemon=True)
        self._thread.start()

    def _look(self, processes: list[psutil.Process]) -> None:
        while not self._end.wait(0.2):
            self.mebibytes = max(self.mebibytes, sum(each.memory_info().rss for each in processes) / 2**20)

    def stop(self) -> None:
        """Stop sampling."""
        self._end.set()
        self._thread.join()


def cpu(process: psutil.Process) -> float:
    """CPU seconds that a process has used."""
    times = process.cpu_times()
    return times.user + times.system


@contextmanager
def control_plane() -> Iterator[ControlPlane]:
    """A control plane with one node that has room for everything."""
    with tempfile.TemporaryDirectory() as folder:
        plane = ControlPlane(Path(folder), find_binaries())
        try:
            plane.start()
            node = fake_node(NODE, 100_000, {"pool": NODE})
            node["status"]["capacity"]["pods"] = node["status"]["allocatable"]["pods"] = "100000"
            add_nodes(plane.api, node)
            yield plane
        finally:
            plane.stop()


def requests(contender: Contender) -> None:
    """Print the API requests of a run's life, watches left out: a proxy counts them."""
    with control_plane() as plane, tempfile.TemporaryDirectory() as folder:
        proxy = FaultProxy(plane)
        contender.install(plane, proxy.server, Path(folder))
        contender.start()
        try:
            bench = Bench(plane, contender)
            before = len(proxy.calls)
            bench.latencies("counted", COUNTED, 1, 1)

            def work() -> list[Call]:
                return [call for call in proxy.calls[before:] if call.verb in WORK and call.resource not in ("leases", "")]

            def at_rest() -> bool:
                """Whether no new requests come: the last status is written after the pod's end."""
                seen = len(work())
                time.sleep(QUIET)
                return len(work()) == seen

            wait_for(at_rest, 60, "new requests keep coming")
            calls = work()
        finally:
            contender.stop()
            proxy.close()
    kinds: dict[str, int] = {}
    for call in calls:
        what = f"{call.verb} {call.resource}"
        kinds[what] = kinds.get(what, 0) + 1
    per_run = {what: count / COUNTED for what, count in sorted(kinds.items(), key=lambda each: -each[1])}
    print(f"{contender.name:12} requests a run   {len(calls) / COUNTED:.1f}: "
          + ", ".join(f"{what} {count:.1f}" for what, count in per_run.items()), flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0] if __doc__ else None)
    parser.add_argument("--peer", type=Path)
    parser.add_argument("--burst", type=int, default=1000)
    options = parser.parse_args()
    contenders: list[Any] = [DeepICD()]
    if options.peer is not None:
        contenders.append(importlib.import_module("kubeflow_trainer").KubeflowTrainer(options.peer))
    for contender in contenders:
        with control_plane() as plane, tempfile.TemporaryDirectory() as folder:
            contender.install(plane, plane.server, Path(folder))
            Bench(plane, contender).run(options.burst)
        requests(contender)


if __name__ == "__main__":
    main()
