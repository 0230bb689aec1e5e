from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepicd.kubernetes.errors import RequestError, UnavailableError
from deepicd.kubernetes.login import log_in
from deepicd_operator.cluster import Cluster
from deepicd_operator.desired import Deletion
from deepicd_operator.prometheus import Metrics
from tests.unit.kubernetes.api_server import Request, Server, kubeconfig, refusal, serving

FOREIGN = "404-of-a-proxy"
DOCKERFILE = Path(__file__).parents[3] / "images" / "operator" / "Dockerfile"


def by_name(request: Request) -> tuple[int, str]:
    """Answer with the status code that the pod's name gives."""
    name = request.path.rpartition("/")[2]
    if name == FOREIGN:
        return 404, "default backend"
    code = int(name)
    return (200, json.dumps({"kind": "Pod", "metadata": {"name": name}})) if code == 200 else refusal(code, "no")


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with serving(by_name) as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.address)))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield server


async def contact(pod: str) -> tuple[float, float | None]:
    """When the API server last accepted a request, for readiness and in the metric; 0 for never."""
    metrics = Metrics()
    cluster = Cluster(await log_in(), metrics)
    try:
        await cluster.get("Pod", "n", pod)
    except RequestError:
        pass
    finally:
        await cluster.close()
    return cluster.last_contact, metrics.registry.get_sample_value("deepicd_api_last_success_timestamp_seconds")


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("answer", ["200", "404", "409"])
def test_an_answer_to_an_authorized_request_counts_as_contact(answer: str) -> None:
    found, metric = asyncio.run(contact(answer))
    assert found > 0
    assert metric == found


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("answer", ["401", "403", "429", "500", "503"])
def test_a_refusal_does_not_count_as_contact(answer: str) -> None:
    assert asyncio.run(contact(answer)) == (0, 0)


@pytest.mark.usefixtures("server")
def test_a_404_from_a_proxy_does_not_count_as_contact() -> None:
    assert asyncio.run(contact(FOREIGN)) == (0, 0)


ASKED: dict[str, Callable[[Cluster], Awaitable[Any]]] = {
    "get": lambda cluster: cluster.get("Job", "n", FOREIGN),
    "delete": lambda cluster: cluster.delete("n", Deletion("Job", FOREIGN, "uid")),
    "node": lambda cluster: cluster.node_is_lost(FOREIGN),
}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize("what", ASKED)
def test_a_404_of_something_before_the_api_server_does_not_say_that_an_object_is_gone(what: str) -> None:
    async def ask() -> None:
        cluster = Cluster(await log_in(), Metrics())
        try:
            await ASKED[what](cluster)
        finally:
            await cluster.close()

    with pytest.raises(UnavailableError, match="not an answer of an API server"):
        asyncio.run(ask())


_WITHOUT_GENERATED_CLASSES = """
import asyncio, re, sys
from importlib.abc import MetaPathFinder

class LeftOut(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if re.match(r"kubernetes[.](aio[.])?client[.](api|models)[.]", name):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, LeftOut())
import deepicd_operator.process
from deepicd.kubernetes.login import log_in
from deepicd_operator.cluster import Cluster
from deepicd_operator.prometheus import Metrics

async def ask():
    cluster = Cluster(await log_in(), Metrics())
    print((await cluster.get("Pod", "n", "200"))["kind"])
    await cluster.close()

asyncio.run(ask())
"""


@pytest.mark.usefixtures("server")
def test_the_client_works_without_the_generated_classes() -> None:
    assert "-path '*/client/api/*' -o -path '*/client/models/*'" in DOCKERFILE.read_text()
    command = [sys.executable, "-c", _WITHOUT_GENERATED_CLASSES]
    asked = subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=120, check=False)
    assert (asked.stdout, asked.returncode) == ("Pod\n", 0), asked.stderr
