"""A fake API server on loopback, which gives set answers and records its requests."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


@dataclass
class Request:
    """One request."""

    method: str
    target: str
    token: str
    content_type: str
    body: Any

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}


@dataclass
class Server:
    """Its address, its requests, and what it answers to each: code and body."""

    address: str
    answer: Callable[[Request], tuple[int, str]]
    requests: list[Request] = field(default_factory=list)


@contextmanager
def serving(answer: Callable[[Request], tuple[int, str]]) -> Iterator[Server]:
    """Serve until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            token = (self.headers.get("Authorization") or "").partition(" ")[2]
            content_type = self.headers.get("Content-Type") or ""
            asked = Request(self.command, self.path, token, content_type, json.loads(text) if text else None)
            server.requests.append(asked)
            code, body = server.answer(asked)
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body.encode())))
            self.end_headers()
            self.wfile.write(body.encode())

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Silent."""

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    server = Server(f"http://127.0.0.1:{listener.server_address[1]}", answer)
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()


def refusal(code: int, reason: str, **details: Any) -> tuple[int, str]:
    """An answer that refuses."""
    return code, json.dumps({"kind": "Status", "code": code, "reason": reason, "message": reason, "details": details})


def kubeconfig(folder: Path, server: str, user: dict[str, Any] | None = None, proxy: str = "") -> Path:
    """A kubeconfig file."""
    cluster = {"server": server, **({"proxy-url": proxy} if proxy else {})}
    content = {
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": cluster}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "research"}}],
        "users": [{"name": "u", "user": user if user is not None else {"token": "t"}}],
    }  # fmt: skip
    path = folder / "kubeconfig"
    path.write_text(json.dumps(content))
    return path
