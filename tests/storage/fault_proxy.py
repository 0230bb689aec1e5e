"""A proxy in front of the S3 server that fails requests of one kind in one way."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections import Counter
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

KINDS = ("put", "create", "part", "complete", "get", "list", "delete", "list-uploads", "list-parts")
FAULTS = ("500", "503", "429", "cut", "lost-answer", "corrupt-request", "corrupt-answer", "delay")


def kind_of(method: str, target: str) -> str:
    """Which operation of S3 a request is."""
    query = parse_qs(urlsplit(target).query, keep_blank_values=True)
    if "uploadId" in query:
        names = {"PUT": "part", "POST": "complete", "GET": "list-parts", "DELETE": "abort"}
        return names[method]
    if "uploads" in query:
        return "create" if method == "POST" else "list-uploads"
    if "delete" in query:
        return "delete"
    if method == "GET" and "list-type" in query:
        return "list"
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}[method]


@dataclass
class Fault:
    """What happens to the next `times` requests of a kind."""

    kind: str
    how: str
    times: int


class FaultProxy:
    """Listens on loopback; counts what passes. `certificate`: of its TLS, with the key; without it there is none."""

    def __init__(self, upstream: str, certificate: tuple[Path, Path] | None = None, host: str = "127.0.0.1") -> None:
        self.upstream = urlsplit(upstream).netloc
        self.fault: Fault | None = None
        self.seen: Counter[str] = Counter()
        self.headers: list[tuple[str, dict[str, str]]] = []
        """Kind and headers, their names in lower case, of each request."""
        self.failed = 0
        self.has_failed = threading.Event()
        self._closed = threading.Event()
        self.skew: str | None = None
        self._lock = threading.Lock()
        proxy = self

        class Handler(_Handler):
            owner = proxy

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._server = Server((host, 0), Handler)
        self._server.daemon_threads = True
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            # The handshake is the connection's own thread's, since one that hangs would block them all.
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        scheme = "http" if certificate is None else "https"
        name = f"[{host}]" if ":" in host else host
        self.endpoint = f"{scheme}://{name}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def fail(self, kind: str, how: str, times: int = 1) -> None:
        """Fail the next requests of a kind."""
        self.fault, self.failed = Fault(kind, how, times), 0
        self.has_failed.clear()
        self.seen.clear()

    def wait_until_closed(self) -> None:
        self._closed.wait(120)

    def close(self) -> None:
        self._closed.set()
        self._server.shutdown()
        self._server.server_close()

    def take(self, kind: str) -> str | None:
        """What to do to this request."""
        with self._lock:
            self.seen[kind] += 1
            if self.fault is None or self.fault.kind != kind or self.fault.times == 0:
                return None
            self.fault.times -= 1
            self.failed += 1
            self.has_failed.set()
            return self.fault.how


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultProxy

    def _handle(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        kind = kind_of(self.command, self.path)
        self.owner.headers.append((kind, {name.lower(): value for name, value in self.headers.items()}))
        how = self.owner.take(kind)
        if how in {"404", "500", "503", "429"}:
            self._answer(int(how), {}, b"")
            return
        if how == "cut":
            self._cut()
            return
        if how == "hang":
            self.owner.wait_until_closed()
            self._cut()
            return
        if how == "delay":
            time.sleep(1)
        if how == "corrupt-request":
            body = flipped(body)
        upstream = http.client.HTTPConnection(self.owner.upstream, timeout=60)
        try:
            headers = {name: value for name, value in self.headers.items() if name.lower() != "expect"}
            upstream.request(self.command, self.path, body=body, headers=headers)
            answer = upstream.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._cut()
            return
        finally:
            upstream.close()
        if how == "lost-answer":
            self._cut()
            return
        self._answer(answer.status, dict(answer.getheaders()), flipped(content) if how == "corrupt-answer" else content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _handle  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "transfer-encoding", "connection"} or (
                self.command == "HEAD" and name.lower() == "content-length"
            ):
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _cut(self) -> None:
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *arguments: object) -> None:
        """Nothing: the tests count."""


def flipped(content: bytes) -> bytes:
    """The same bytes with one bit changed in the middle."""
    if not content:
        return content
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
