"""Servers with MLflow's REST API: MLflow's own, and a stand-in that keeps all in memory. Both listen on loopback only."""

from __future__ import annotations

import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import parse_qsl, urlsplit
from urllib.request import Request, urlopen

PACKAGES = Path(sys.prefix) / "mlflow"
"""Where `make test-long` installs MLflow, apart from the training stack."""
START_SECONDS = 600
"""Time limit for its start, which is mostly imports: on a busy machine minutes."""


class StandIn:
    """The part of MLflow's API that DeepICD uses."""

    def __init__(self) -> None:
        self.experiments: dict[str, str] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        """Everything that was sent, with its headers."""
        self.failure: int | None = None
        """Answer everything with this status."""
        self.fails_at = ""
        """The one call that `failure` is for; empty for all."""

    def answer(self, what: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and content for a call."""
        if self.failure is not None and self.fails_at in ("", what):
            return self.failure, {"error_code": "OTHER"}
        found = getattr(self, "_" + re.sub(r"[/-]", "_", what))(body)
        return (404, {"error_code": "RESOURCE_DOES_NOT_EXIST"}) if found is None else (200, found)

    def _experiments_get_by_name(self, body: dict[str, Any]) -> dict[str, Any] | None:
        known = {name: number for number, name in self.experiments.items()}
        name = body["experiment_name"]
        return {"experiment": {"experiment_id": known[name]}} if name in known else None

    def _experiments_create(self, body: dict[str, Any]) -> dict[str, Any]:
        number = str(len(self.experiments) + 1)
        self.experiments[number] = body["name"]
        return {"experiment_id": number}

    def _runs_create(self, body: dict[str, Any]) -> dict[str, Any]:
        number = f"run{len(self.runs)}"
        info = {
            "run_id": number, "status": "RUNNING", "run_name": body["run_name"], "experiment_id": body["experiment_id"],
            "lifecycle_stage": "active",
        }  # fmt: skip
        self.runs[number] = {"info": info, "data": {"tags": body["tags"], "params": []}, "history": []}
        return {"run": self.runs[number]}

    def _runs_get(self, body: dict[str, Any]) -> dict[str, Any] | None:
        found = self.runs.get(body["run_id"])
        return None if found is None else {"run": {name: found[name] for name in ("info", "data")}}

    def _runs_search(self, body: dict[str, Any]) -> dict[str, Any]:
        match = re.fullmatch(r"tags\.`(.+)` = '(.+)'", body["filter"])
        assert match
        tag = {"key": match[1], "value": match[2]}
        wanted = [run for run in self.runs.values() if run["info"]["experiment_id"] in body["experiment_ids"]]
        found = [run for run in wanted if tag in run["data"]["tags"] and run["info"]["lifecycle_stage"] == "active"]
        return {"runs": found} if found else {}

    def _runs_update(self, body: dict[str, Any]) -> dict[str, Any]:
        self.runs[body["run_id"]]["info"]["status"] = body["status"]
        return {}

    def _runs_delete(self, body: dict[str, Any]) -> dict[str, Any]:
        self.runs[body["run_id"]]["info"]["lifecycle_stage"] = "deleted"
        return {}

    def _runs_log_batch(self, body: dict[str, Any]) -> dict[str, Any]:
        run = self.runs[body["run_id"]]
        run["data"]["params"] += body.get("params", [])
        run["history"] += body.get("metrics", [])
        return {}

    def _metrics_get_history(self, body: dict[str, Any]) -> dict[str, Any]:
        history = self.runs[body["run_id"]]["history"]
        return {"metrics": [row for row in history if row["key"] == body["metric_key"]]}


@contextmanager
def stand_in() -> Iterator[tuple[str, StandIn]]:
    """A stand-in and its address."""
    served = StandIn()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            place = urlsplit(self.path)
            content = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
            served.requests.append(f"{self.path}\n{self.headers}\n{content}")
            body = json.loads(content) if content else dict(parse_qsl(place.query))
            status, answer = served.answer(place.path.removeprefix("/api/2.0/mlflow/"), body)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        do_GET = do_POST = _serve  # noqa: N815 - the library's names

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", served
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def mlflow_server(folder: Path) -> Iterator[str]:
    """MLflow's own server; yields its address."""
    assert PACKAGES.is_dir(), f"{PACKAGES}: MLflow is not installed: run make test-long"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--no-serve-artifacts",
    ]  # fmt: skip
    environment = {
        **os.environ, "PYTHONPATH": str(PACKAGES), "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # its processes would import MLflow once more each
    }  # fmt: skip
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            command, env=environment, cwd=folder, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + START_SECONDS
        while not _is_up(address):
            assert server.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.5)
        yield address
    finally:
        os.killpg(server.pid, 15)
        server.wait()


def _is_up(address: str) -> bool:
    try:
        with urlopen(f"{address}/health", timeout=5) as response:
            return bool(response.status == 200)
    except (URLError, OSError):
        return False


def write(address: str, what: str, **body: str) -> None:
    """Send a POST to a server."""
    content = json.dumps(body).encode()
    with urlopen(Request(f"{address}/api/2.0/mlflow/{what}", content, {"Content-Type": "application/json"}), timeout=30):
        pass


def read(address: str, what: str, **query: str) -> dict[str, Any]:
    """What a server answers to a GET."""
    text = "&".join(f"{name}={value}" for name, value in query.items())
    with urlopen(f"{address}/api/2.0/mlflow/{what}?{text}", timeout=30) as response:
        content: dict[str, Any] = json.loads(response.read())
    return content


@contextmanager
def raw_server(answer: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives every request the same bytes and closes; yields its address and what it was sent."""
    requests: list[str] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            requests.append(self.request.recv(65536).decode())
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", requests
        server.shutdown()
