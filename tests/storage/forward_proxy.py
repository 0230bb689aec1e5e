"""An HTTP proxy between us and the store, as a company has one."""

from __future__ import annotations

import select
import socket
import ssl
import threading
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit


class ForwardProxy:
    """Listens on loopback: CONNECT for TLS, whole addresses without.

    `certificate`: of its own TLS, with the key. `login`: the user and password that it asks for.
    """

    def __init__(self, certificate: tuple[Path, Path] | None = None, login: str | None = None) -> None:
        self.requests: list[str] = []
        """The first line of each connection's first request."""
        self._login = None if login is None else b"Basic " + b64encode(login.encode())
        self._context = None
        if certificate is not None:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._listener = socket.create_server(("127.0.0.1", 0))
        scheme = "http" if certificate is None else "https"
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.url = f"{scheme}://{self.address}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        with suppress(OSError):
            client = plain if self._context is None else self._context.wrap_socket(plain, server_side=True)
            with client:
                head = b""
                while b"\r\n\r\n" not in head:
                    block = client.recv(2**16)
                    if not block:
                        return
                    head += block
                first = head.split(b"\r\n", 1)[0].decode()
                self.requests.append(first)
                if self._login is not None and b"\r\nproxy-authorization: " + self._login.lower() not in head.lower():
                    client.sendall(
                        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                    return
                method, target, _ = first.split(" ")
                where = urlsplit(target if "://" in target else f"//{target}")
                with socket.create_connection((where.hostname, where.port)) as store:
                    if method == "CONNECT":
                        client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                    else:
                        store.sendall(head)
                    _pass_on(client, store)


def _pass_on(client: socket.socket, store: socket.socket) -> None:
    """Bytes in both directions, until one side ends."""
    other = {client: store, store: client}
    while True:
        held = isinstance(client, ssl.SSLSocket) and client.pending()
        for ready in [client] if held else select.select([client, store], [], [])[0]:
            if not (block := ready.recv(2**16)):
                return
            other[ready].sendall(block)
