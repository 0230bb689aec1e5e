from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.kind.kind_cluster", "tests.kind.runs")

from tests.kind.kind_cluster import ROOT, SYSTEM, KindCluster  # noqa: E402
from tests.kind.runs import RESEARCH, STORE_KEYS, Run, Start, applied, readme_commands  # noqa: E402

VERSION = version("deepicd")
FAILED = pytest.StashKey[bool]()
"""Marks a test that failed, or whose set-up failed."""
_CLUSTER = pytest.StashKey[KindCluster]()
_SET_UPS = pytest.StashKey[list[BaseException]]()
"""Exceptions of shared set-ups that failed; each is reported with the first test that needs it."""


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
    """Applies a run; it is deleted with all its objects after the test."""
    with ExitStack() as stack:

        def apply(content: dict[str, Any]) -> Run:
            (run,) = stack.enter_context(applied(kind, content)).values()
            return run

        yield apply


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not report.failed:
        return report
    assert call.excinfo is not None
    raised, reported = call.excinfo.value, item.config.stash.setdefault(_SET_UPS, [])
    if call.when == "setup":
        # pytest raises the same exception again for every test that needs the fixture.
        if any(raised is each for each in reported):
            report.outcome = "skipped"
            report.longrepr = (str(item.path), 0, "Skipped: its set-up failed, as reported with an earlier test")
            return report
        reported.append(raised)
    item.stash[FAILED] = True
    cluster = item.config.stash.get(_CLUSTER, None)
    if cluster is not None and cluster.kubeconfig.exists():
        folder = ROOT / "runs" / "kind-failures" / item.name
        cluster.save(folder, SYSTEM, RESEARCH)
        report.sections.append(("saved", str(folder)))
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Restart what a failed test has left stopped, before the test's runs are deleted."""
    if not item.stash.get(FAILED, False) or "kind" not in getattr(item, "funcargs", {}):
        return
    try:
        item.config.stash[_CLUSTER].repair()
    except (AssertionError, subprocess.TimeoutExpired) as error:
        item.session.shouldfail = f"the kind cluster is beyond repair after {item.name}: {error}"
