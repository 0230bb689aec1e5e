from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ACCEPTED = ("200", "404", "409")
REFUSED = ("401", "403", "429", "500", "503")
FOREIGN = "404-of-a-proxy"
_ASK = """
import asyncio, json, sys
from deepicd.kubernetes.errors import RequestError
from deepicd.kubernetes.login import log_in
from deepicd_operator.cluster import Cluster
from deepicd_operator.prometheus import Metrics

async def ask(name):
    metrics = Metrics()
    cluster = Cluster(await log_in(), metrics)
    try:
        await cluster.get("Pod", "n", name)
    except RequestError:
        pass
    finally:
        await cluster.close()
    return cluster.last_contact, metrics.registry.get_sample_value("deepicd_api_last_success_timestamp_seconds")

print(json.dumps({name: asyncio.run(ask(name)) for name in sys.argv[1:]}))
"""


class _Handler(BaseHTTPRequestHandler):
    """An API server that answers with the code that is the pod's name."""

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        code = int(name[:3])
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "n"}}
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": "no"}
        body = "default backend" if name == FOREIGN else json.dumps(pod if code == 200 else status)
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if name == FOREIGN else "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture(scope="module")
def contacts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[float]]]:
    """When the API server last accepted a request, as readiness and as the metric have it, by its answer; 0 for never."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_address[1]}"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    path: Path = tmp_path_factory.mktemp("api") / "kubeconfig"
    path.write_text(json.dumps(config))
    command = [sys.executable, "-c", _ASK, *ACCEPTED, *REFUSED, FOREIGN]
    environment = {**os.environ, "KUBECONFIG": str(path), "NO_PROXY": "127.0.0.1"}
    try:
        asked = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert asked.returncode == 0, asked.stderr
        yield json.loads(asked.stdout)
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("answer", ACCEPTED)
def test_an_answer_to_a_request_that_was_let_in_is_contact(contacts: dict[str, list[float]], answer: str) -> None:
    found, metric = contacts[answer]
    assert found > 0
    assert metric == found


@pytest.mark.parametrize("answer", REFUSED)
def test_a_refusal_is_no_contact(contacts: dict[str, list[float]], answer: str) -> None:
    assert contacts[answer] == [0, 0]


def test_a_404_of_something_before_the_api_server_is_no_contact(contacts: dict[str, list[float]]) -> None:
    assert contacts[FOREIGN] == [0, 0]
