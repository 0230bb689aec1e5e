from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Generator, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kind.kind_cluster", "tests.kind.runs")

from tests.kind.kind_cluster import ROOT, KindCluster  # noqa: E402
from tests.kind.runs import RESEARCH, STORE_KEYS, Run, Start, readme_commands  # noqa: E402

VERSION = version("deepicd")
SYSTEM = "deepicd-system"
_CLUSTER = pytest.StashKey[KindCluster]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("kind")


@pytest.fixture(scope="session")
def kind(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[KindCluster]:
    """A cluster with store and operator, and a namespace that enforces the restricted Pod Security Standard.

    NetworkPolicies are made in it; whether they are enforced is up to its network plug-in.
    """
    missing = [name for name in ("docker", "kind", "kubectl", "helm", "make") if shutil.which(name) is None]
    if missing:
        pytest.fail(f"not on the PATH: {', '.join(missing)}: install them to run these tests")
    kept = os.environ.get("CLUSTER")
    cluster = KindCluster(kept or f"deepicd-{secrets.token_hex(3)}", tmp_path_factory.mktemp("kind"))
    request.config.stash[_CLUSTER] = cluster
    if kept:
        cluster.take()
        cluster.kubectl("config", "set-context", "--current", "--namespace", RESEARCH)
        yield cluster
        return
    try:
        with cluster.timed("images built, what docker has cached left out"):
            cluster.must("make", "images", "TRAINER=cpu", seconds=3000)
        with cluster.saving(f"deepicd/trainer:{VERSION}") as trainer:
            with cluster.timed("kind cluster made"):
                cluster.create()
            with cluster.saving(f"deepicd/operator:{VERSION}") as operator:
                cluster.load(operator)
            cluster.install_store()
            install = readme_commands("## On a cluster")[0]
            with cluster.timed("helm install until the operator is ready"):
                cluster.shell(f"{install} --wait --timeout 120s", ROOT)
            with cluster.timed("trainer's image loaded, after all this"):
                cluster.load(trainer)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": RESEARCH, "labels": labels}},
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "s3-keys", "namespace": RESEARCH},
                "stringData": STORE_KEYS,
            },
        )
        cluster.kubectl("config", "set-context", "--current", "--namespace", RESEARCH)
        yield cluster
    finally:
        if not os.environ.get("KEEP"):
            cluster.delete()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    cluster = config.stash.get(_CLUSTER, None)
    if cluster is not None and cluster.timings:
        terminalreporter.section("seconds")
        for what, seconds in cluster.timings.items():
            terminalreporter.write_line(f"{seconds:8.1f}  {what}")


@pytest.fixture
def start(kind: KindCluster) -> Iterator[Start]:
    """Applies a run; it is deleted, with all that was made for it, when the test is over."""
    started: list[Run] = []

    def apply(content: dict[str, Any]) -> Run:
        started.append(Run(kind, content["metadata"]["name"]))
        kind.apply(content)
        return started[-1]

    yield apply
    for run in started:
        run.delete()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    cluster = item.config.stash.get(_CLUSTER, None)
    if report.failed and cluster is not None and cluster.kubeconfig.exists():
        folder = ROOT / "runs" / "kind-failures" / item.name
        cluster.save(folder, SYSTEM, RESEARCH)
        report.sections.append(("saved", str(folder)))
    return report
