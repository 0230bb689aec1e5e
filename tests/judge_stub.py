"""A judge's server for tests, on loopback, that also answers wrongly in every way."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "judge"


@dataclass
class Reply:
    """What the server answers to one request."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it waits before it answers."""
    drop: bool = False
    """Whether it closes the connection instead."""


Answer = Callable[[str], str]
"""The model: a prompt's answer."""


def all_yes(prompt: str) -> str:
    """Says yes to every question of the prompt."""
    return json.dumps(dict.fromkeys(criteria(prompt), True))


def criteria(prompt: str) -> list[str]:
    """Names of the criteria that the prompt asks for."""
    return prompt.rsplit(": ", 1)[1].split(", ")


def completed(texts: list[str | None], model: str = MODEL) -> Reply:
    """An answer in the form of the OpenAI API."""
    choices = [{"index": place, "message": {"role": "assistant", "content": text}} for place, text in enumerate(texts)]
    return Reply(body=json.dumps({"model": model, "choices": choices}).encode())


class Stub(ThreadingHTTPServer):
    """Keeps what it was asked. `faults` are its first replies to chats, in order; then the model answers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, answer: Answer, *, batches: bool, key: str | None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer, self.batches, self.key, self.model = answer, batches, key, MODEL
        self.faults: list[Reply] = []
        self.always: Callable[[list[str]], Reply | None] = lambda prompts: None
        """Decides each reply by the prompts; None: as usual."""
        self.models: Reply | None = None
        self.requests: list[tuple[str, dict[str, Any]]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    @property
    def chats(self) -> list[tuple[str, dict[str, Any]]]:
        """The requests for answers."""
        return [(path, content) for path, content in self.requests if "chat" in path]

    def reply(self, path: str, content: dict[str, Any]) -> Reply:
        """What to answer."""
        with self.lock:
            self.requests.append((path, content))
            if path == "/v1/models":
                return self.models or Reply(body=json.dumps({"data": [{"id": self.model}]}).encode())
            if self.faults:
                return self.faults.pop(0)
        many = path.endswith("/batch")
        if many and not self.batches:
            return Reply(404, b'{"detail": "Not Found"}')
        prompts = [chat[-1]["content"] for chat in (content["messages"] if many else [content["messages"]])]
        found = self.always(prompts)
        return completed([self.answer(prompt) for prompt in prompts], self.model) if found is None else found


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stub

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        self._answer(self.server.reply(self.path, {}))

    def do_POST(self) -> None:
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.key is not None and self.headers.get("Authorization") != f"Bearer {self.server.key}":
            self._answer(Reply(401, b'{"error": "no key"}'))
            return
        self._answer(self.server.reply(self.path, content))

    def _answer(self, reply: Reply) -> None:
        time.sleep(reply.seconds)
        if reply.drop:
            self.close_connection = True
            return
        try:
            self.send_response(reply.status)
            for name, value in ({"Content-Length": str(len(reply.body))} | reply.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(reply.body)
        except OSError:  # the client has given up
            self.close_connection = True


@contextmanager
def stub(answer: Answer = all_yes, *, batches: bool = True, key: str | None = None) -> Iterator[Stub]:
    """A running server. `batches`: whether it takes many chats in one request."""
    server = Stub(answer, batches=batches, key=key)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
