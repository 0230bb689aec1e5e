"""One HTTP/1.1 connection to a store, with no more to it than the many requests that carry data need.

http.client opens it (TLS, proxies); a request and its answer through that cost 0.2 ms of CPU, so 0.04.
"""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, LineTooLong, RemoteDisconnected

ANSWER_SECONDS = 60
PIECE_BYTES = 2**18
"""Received and handed on at once: it is still in the processor's cache then, and ends where a page of a file does."""
_HEAD_BYTES = 2**16
"""The longest head of an answer."""
_SENT_TOGETHER = 2**16
"""A body up to this size is sent in one piece with its head."""

Pace = Callable[[int], None]
"""Returns when that many bytes may be sent."""
Sink = Callable[[memoryview, int], None]
"""Called with each piece of a body when it has arrived, and with where in the body it begins."""


@dataclass(frozen=True)
class Answer:
    """The head of an answer."""

    status: int
    headers: dict[str, str]
    """By their names in lower case."""

    @property
    def length(self) -> int | None:
        """Bytes of the body, where the answer says so beforehand."""
        told = self.headers.get("content-length", "")
        return int(told) if told.isdecimal() else None


class Connection:
    """For one request after the other; not safe for threads.

    Each method raises OSError or HTTPException where the other side is gone, silent for a minute, or speaks no HTTP.
    """

    def __init__(self, way: HTTPConnection) -> None:
        """`way`: how to connect."""
        way.connect()
        self._socket: socket.socket = way.sock
        if isinstance(self._socket, ssl.SSLSocket):
            self._flags = 0
            self._socket.settimeout(ANSWER_SECONDS)
        else:
            # The kernel waits for whole pieces, and keeps the time: Python would ask it before each call whether it is ready.
            self._flags = socket.MSG_WAITALL
            self._socket.settimeout(None)
            for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
                self._socket.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", ANSWER_SECONDS, 0))
        self._buffer = bytearray(PIECE_BYTES)
        self._view = memoryview(self._buffer)
        self._ahead = self._view[:0]
        """Bytes of the body that arrived with the head."""
        self._left: int | None = 0
        """Bytes of the body that were not read yet, where that is known."""

    @property
    def is_reusable(self) -> bool:
        """Whether the last answer was read to its end, and another request may follow."""
        return self._left == 0

    def send(self, head: bytes, body: memoryview | None, pace: Pace | None) -> None:
        """Send a request."""
        if body is None:
            self._send(head)
        elif pace is None and len(body) <= _SENT_TOGETHER:
            self._send(head + body)
        else:
            self._send(head)
            for piece in _pieces(body, pace):
                self._send(piece)

    def receive(self) -> Answer:
        """The head of the answer to what was sent."""
        self._left = None
        self._ahead = self._view[:0]
        while True:
            status, headers = _parse(self._receive_head())
            if status >= 200:
                break
        answer = Answer(status, headers)
        if headers.get("connection", "").lower() != "close":
            self._left = 0 if status == 204 else answer.length
        return answer

    def read(self, into: memoryview) -> None:
        """Fill `into` with the body of the answer."""
        self._fill(into)
        if self._left is not None:
            self._left -= len(into)

    def stream(self, length: int, sink: Sink) -> None:
        """Hand on the body of the answer, of which no more than a piece is held."""
        for start in range(0, length, PIECE_BYTES):
            piece = self._view[: min(PIECE_BYTES, length - start)]
            self._fill(piece)
            sink(piece, start)
        if self._left is not None:
            self._left -= length

    def read_some(self, most: int) -> bytes:
        """Up to `most` bytes of a body of any form, until it ends or pauses."""
        found = bytes(self._ahead)
        wanted = most if self._left is None else min(self._left, most)
        while len(found) < wanted and not (self._left is None and found.endswith(b"\r\n0\r\n\r\n")):
            block = bytearray(wanted - len(found))
            count = self._receive(memoryview(block), 0)
            if not count:
                break
            found += block[:count]
        self._left = None
        return found

    def close(self) -> None:
        """End it."""
        self._socket.close()

    def _receive_head(self) -> bytes:
        """Up to the empty line; what follows is ahead."""
        received = len(self._ahead)
        self._view[:received] = self._ahead
        while (end := self._buffer.find(b"\r\n\r\n", 0, received)) < 0:
            if received == _HEAD_BYTES:
                raise LineTooLong("head")
            count = self._receive(self._view[received:_HEAD_BYTES], 0)
            if not count:
                raise RemoteDisconnected("the store closed the connection")
            received += count
        self._ahead = self._view[end + 4 : received]
        return bytes(self._view[:end])

    def _fill(self, into: memoryview) -> None:
        filled = min(len(self._ahead), len(into))
        into[:filled] = self._ahead[:filled]
        self._ahead = self._ahead[filled:]
        while filled < len(into):
            count = self._receive(into[filled:], self._flags)
            if not count:
                raise IncompleteRead(b"", len(into) - filled)
            filled += count

    def _receive(self, into: memoryview, flags: int) -> int:
        try:
            return self._socket.recv_into(into, 0, flags)
        except BlockingIOError:
            raise TimeoutError from None

    def _send(self, content: bytes | memoryview) -> None:
        try:
            self._socket.sendall(content)
        except BlockingIOError:
            raise TimeoutError from None


def _pieces(body: memoryview, pace: Pace | None) -> Iterator[memoryview]:
    if pace is None:
        yield body
        return
    for start in range(0, len(body), PIECE_BYTES):
        piece = body[start : start + PIECE_BYTES]
        pace(len(piece))
        yield piece


def _parse(head: bytes) -> tuple[int, dict[str, str]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, status = first.partition(" ")
    if not version.startswith("HTTP/1.") or not status[:3].isdecimal():
        raise BadStatusLine(first[:100])
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if version == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return int(status[:3]), headers
