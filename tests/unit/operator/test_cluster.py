from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepicd_operator.cluster import Cluster, ConflictError, NotThereError, RefusedError, UnreachableError
from deepicd_operator.metrics import Metrics

GONE = "nobody listens"


class Answering(ThreadingHTTPServer):
    """An API server that answers everything with one code."""

    code = 200
    says_status = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Answering)
        status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": server.code, "message": "no"}
        pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "x", "namespace": "n"}}
        body = json.dumps(pod if server.code == 200 else status) if server.says_status else "default backend"
        self.send_response(server.code)
        self.send_header("Content-Type", "application/json" if server.says_status else "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_: object) -> None:
        """Silent."""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Answering]:
    made = Answering()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{made.server_address[1]}"
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    yield made
    made.shutdown()
    made.server_close()


def contact_after_a_request() -> tuple[float, float]:
    """When the API server last accepted a request, as readiness and as the metric have it; 0 for never."""
    metrics = Metrics()

    async def ask() -> float:
        cluster = Cluster(metrics)
        try:
            await cluster.get("Pod", "n", "x")
        except (ConflictError, NotThereError, RefusedError, UnreachableError):
            pass
        finally:
            await cluster.close()
        return cluster.last_contact

    found = asyncio.run(ask())
    line = next(line for line in metrics.text().decode().splitlines() if line.startswith("deepicd_api_last_success_timestamp"))
    return found, float(line.split()[1])


@pytest.mark.parametrize("code", [200, 404, 409])
def test_an_answer_to_a_request_that_was_let_in_is_contact(server: Answering, code: int) -> None:
    server.code = code
    found, metric = contact_after_a_request()
    assert found > 0
    assert metric == pytest.approx(found)


@pytest.mark.parametrize("code", [401, 403, 429, 500, 503])
def test_a_refusal_is_no_contact(server: Answering, code: int) -> None:
    server.code = code
    assert contact_after_a_request() == (0, 0)


def test_a_404_of_something_before_the_api_server_is_no_contact(server: Answering) -> None:
    server.code, server.says_status = 404, False
    assert contact_after_a_request() == (0, 0)
