"""Ctrl-C while a request is under way."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from deepicd.kubernetes.api import Api

KUBECONFIG = """\
apiVersion: v1
kind: Config
current-context: here
contexts: [{{name: here, context: {{cluster: here, user: me}}}}]
clusters: [{{name: here, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: me, user: {{token: x}}}}]
"""


class Empty(BaseHTTPRequestHandler):
    """An API server without objects, which takes a millisecond to say so."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        time.sleep(0.001)
        body = b'{"items": [], "metadata": {}}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """Print nothing: an interrupted request breaks its connection."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    server = Server(("127.0.0.1", 0), Empty)
    # A shell starts background commands with the signal ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(KUBECONFIG.format(port=server.server_port))
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    yield Api()
    signal.signal(signal.SIGINT, before)
    server.shutdown()
    server.server_close()


def ask_until_interrupted(api: Api, interrupt_after: float) -> None:
    def interrupt() -> None:
        time.sleep(interrupt_after)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    began = time.monotonic()
    while time.monotonic() - began < 10:
        api.runs()


@pytest.mark.parametrize("wait", [0.02 + 0.0007 * step for step in range(40)])
def test_ctrl_c_ends_a_request_at_any_point(api: Api, wait: float) -> None:
    with pytest.raises(KeyboardInterrupt):
        ask_until_interrupted(api, wait)
