from __future__ import annotations

from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.kuberay.kuberay")

from tests.kind.conftest import (  # noqa: E402
    kind,
    pytest_runtest_makereport,
    pytest_runtest_teardown,
    pytest_terminal_summary,
    start,
)
from tests.kind.kind_cluster import KindCluster  # noqa: E402
from tests.kuberay.kuberay import NAMESPACE, SHARED, install  # noqa: E402

__all__ = ["kind", "pytest_runtest_makereport", "pytest_runtest_teardown", "pytest_terminal_summary", "start"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker("kind")
            item.add_marker("long")


@pytest.fixture(scope="session")
def kuberay(kind: KindCluster) -> KindCluster:
    """The kind cluster with KubeRay, and volumes that several pods can write to."""
    if kind.run("kubectl", "get", "namespace", NAMESPACE).returncode != 0:
        install(kind)
    kind.offer_volumes(SHARED, 12)  # one for each attempt of all tests
    return kind
