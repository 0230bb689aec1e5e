from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from deepicd_operator.crd import crd
from tests.cluster.api import Api, Raw, wait_for
from tests.cluster.binaries import BinariesMissingError, find_binaries
from tests.cluster.builders import is_true
from tests.cluster.control_plane import ControlPlane
from tests.cluster.fault_proxy import FaultProxy
from tests.cluster.nodes import add_nodes, fake_node, remove_node
from tests.cluster.operated import USER, grant
from tests.cluster.operator_process import OperatorProcess

_HERE = Path(__file__).parent
_PLANE = pytest.StashKey[ControlPlane]()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    chosen = [item for item in items if item.path.is_relative_to(_HERE)]
    for item in chosen:
        item.add_marker("cluster")
    try:
        find_binaries()
    except BinariesMissingError as error:
        # By a mark: pytest then reports it once for each file instead of for each test.
        for item in chosen:
            if "binaries" in getattr(item, "fixturenames", ()):
                item.add_marker(pytest.mark.skip(reason=f"no tests on a real Kubernetes: {error}"))


@pytest.fixture(scope="session")
def binaries() -> dict[str, Path]:
    return find_binaries()


@pytest.fixture(scope="session")
def cluster(
    binaries: dict[str, Path], tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ControlPlane]:
    """The control plane for all tests. Its data are deleted; its logs stay if a test failed."""
    folder = tmp_path_factory.mktemp("cluster")
    plane = ControlPlane(folder, binaries)
    request.config.stash[_PLANE] = plane
    try:
        plane.start()
        yield plane
    finally:
        plane.stop()
        shutil.rmtree(folder / "etcd", ignore_errors=True)
        if not request.session.testsfailed:
            shutil.rmtree(folder)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    plane = item.config.stash.get(_PLANE, None)
    if report.failed and plane is not None:
        report.sections.append(("control plane", plane.logs()))
    return report


@pytest.fixture
def api(cluster: ControlPlane) -> Api:
    """The cluster's administrator."""
    return cluster.api


@pytest.fixture
def namespace(api: Api) -> Iterator[str]:
    """A namespace for the test, with the restricted Pod Security Standard."""
    name = f"test-{time.time_ns():x}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    wait_for(lambda: api.find("ServiceAccount", "default", name), 30, "the namespace has no ServiceAccount")
    yield name
    api.delete("Namespace", name)


@pytest.fixture(scope="session")
def run_definition(cluster: ControlPlane) -> Raw:
    """The CRD, installed."""
    made = cluster.api.apply(crd())
    name = made["metadata"]["name"]
    wait_for(lambda: is_true(cluster.api.get("CustomResourceDefinition", name), "Established"), 30, "it is not established")
    wait_for(lambda: cluster.api.list("DeepICDRun") == [], 30, "DeepICDRuns cannot be listed")
    return made


@pytest.fixture
def make_node(api: Api, namespace: str) -> Iterator[Callable[..., Raw]]:
    """Creates nodes for the test, `make_node("a", gpus=4)`: their names and their label `pool` start with its namespace."""
    made: list[str] = []

    def make(name: str = "node", gpus: int = 4) -> Raw:
        node = fake_node(f"{namespace}-{name}", gpus, {"pool": namespace})
        made.append(node["metadata"]["name"])
        add_nodes(api, node)
        return api.get("Node", made[-1])

    yield make
    for name in made:
        remove_node(api, name)


@pytest.fixture
def volume(api: Api, namespace: str) -> Iterator[str]:
    """A volume that all pods of a run may write to; the name of its class."""
    name = f"{namespace}-shared"
    api.create({
        "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
        "spec": {
            "storageClassName": name, "accessModes": ["ReadWriteMany", "ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "hostPath": {"path": "/nowhere"},
        },
    })  # fmt: skip
    yield name
    api.delete("PersistentVolume", name)


@pytest.fixture
def proxy(cluster: ControlPlane) -> Iterator[FaultProxy]:
    """A proxy for the test in front of the API server."""
    made = FaultProxy(cluster)
    yield made
    made.close()


@pytest.fixture
def proxied(cluster: ControlPlane, proxy: FaultProxy) -> Iterator[Api]:
    """The administrator, through the proxy."""
    made = Api(cluster.kubeconfig_of("proxied", "system:masters", server=proxy.server))
    yield made
    made.close()


@pytest.fixture
def operator(cluster: ControlPlane, api: Api, namespace: str, proxy: FaultProxy, tmp_path: Path) -> Iterator[OperatorProcess]:
    """The operator of the test's namespace, with exactly its rights, behind the proxy."""
    grant(api, namespace)
    arguments = (f"--namespace={namespace}", "--resync=5", "--admission-policy")
    made = OperatorProcess(cluster.kubeconfig_of(USER, server=proxy.server), tmp_path, *arguments, hasty=True)
    made.start()
    made.wait_until_serving()
    yield made
    made.kill()
