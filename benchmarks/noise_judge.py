"""A stub in a judge's place whose verdicts are random: it shows what a judge's noise does, and judges nothing."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

from deepicd.rewards.judge.rubric import load_rubric
from deepicd.spec.judge import DEFAULT_RUBRIC

MODEL = "noise"


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    seed = 0

    def verdict(self, chat: list[dict[str, str]]) -> str:
        """Random answers, the same for the same chat."""
        rng = random.Random(f"{self.seed} {chat[-1]['content']}")
        return json.dumps({name: rng.random() < 0.5 for name in load_rubric(DEFAULT_RUBRIC).names})


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply({"data": [{"id": MODEL}]})

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        chats = content["messages"] if self.path.endswith("/batch") else [content["messages"]]
        verdict = cast("_Server", self.server).verdict
        choices = [{"index": place, "message": {"content": verdict(chat)}} for place, chat in enumerate(chats)]
        self._reply({"model": MODEL, "choices": choices})

    def _reply(self, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: Any) -> None:
        """Requests quote notes."""


@contextmanager
def noise_judge(seed: int) -> Iterator[str]:
    """Serve on loopback during the body; yields the endpoint's address."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.seed = seed
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v1"
        finally:
            server.shutdown()
            thread.join()
