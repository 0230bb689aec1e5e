from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.client import BadStatusLine, HTTPConnection, IncompleteRead, LineTooLong, RemoteDisconnected
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.store.s3 import connection as module
from deepicd.artifacts.store.s3.connection import PIECE_BYTES, Answer, Connection


class Way(HTTPConnection):
    """Leads to a socket of the test's."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__("store")
        self._end = end

    def connect(self) -> None:
        self.sock = self._end


class Pair:
    """A connection, and the store's end of it."""

    def __init__(self) -> None:
        ours, self.store = socket.socketpair()
        self.connection = Connection(Way(ours))

    def answers(self, *pieces: bytes, ends: bool = False) -> None:
        """The store says this, a piece after the other, and hangs up where it `ends`."""

        def say() -> None:
            with suppress(OSError):  # the test may be over before all is said
                for piece in pieces:
                    self.store.sendall(piece)
                if ends:
                    self.store.shutdown(socket.SHUT_WR)

        threading.Thread(target=say, daemon=True).start()

    def body(self, size: int) -> bytes:
        into = bytearray(size)
        self.connection.read(memoryview(into))
        return bytes(into)

    def close(self) -> None:
        self.connection.close()
        self.store.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


def test_an_answer_has_its_status_its_headers_and_its_body(pair: Pair) -> None:
    pair.answers(b'HTTP/1.1 200 OK\r\nETag: "1:2"\r\nContent-Length:  3\r\n\r\nabc')
    answer = pair.connection.receive()
    assert answer == Answer(200, {"etag": '"1:2"', "content-length": "3"})
    assert answer.length == 3
    assert pair.body(3) == b"abc"


@given(body=st.binary(max_size=200), cuts=st.lists(st.integers(0, 300), max_size=6))
def test_an_answer_is_the_same_however_it_is_cut_on_its_way(body: bytes, cuts: list[int]) -> None:
    content = b"HTTP/1.1 206 Partial Content\r\nContent-Length: %d\r\nx-amz-id: 7\r\n\r\n" % len(body) + body
    places = [0, *sorted(min(cut, len(content)) for cut in cuts), len(content)]
    pair = Pair()
    try:
        pair.answers(*(content[start:end] for start, end in pairwise(places)))
        answer = pair.connection.receive()
        assert (answer.status, answer.headers["x-amz-id"]) == (206, "7")
        assert pair.body(len(body)) == body
        assert pair.connection.is_reusable
    finally:
        pair.close()


def test_a_sink_is_given_a_body_in_whole_pieces_in_their_order(pair: Pair) -> None:
    body = bytes(range(256)) * (PIECE_BYTES // 256) * 2 + b"rest"
    pair.answers(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body), body[:1000], body[1000:])
    pair.connection.receive()
    pieces: list[tuple[int, bytes]] = []
    pair.connection.stream(len(body), lambda piece, start: pieces.append((start, bytes(piece))))
    assert [start for start, _ in pieces] == [0, PIECE_BYTES, 2 * PIECE_BYTES]
    assert b"".join(piece for _, piece in pieces) == body
    assert pair.connection.is_reusable


def test_answers_follow_each_other_on_one_connection(pair: Pair) -> None:
    for number in range(3):
        pair.connection.send(b"GET / HTTP/1.1\r\n\r\n", None, None)
        pair.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%d" % number)
        pair.connection.receive()
        assert pair.body(1) == b"%d" % number


def test_what_is_said_before_the_answer_is_passed_over(pair: Pair) -> None:
    pair.answers(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
    assert pair.connection.receive() == Answer(204, {})
    assert pair.connection.is_reusable


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
    ids=["the store closes it", "an old protocol", "a body that was not read", "a body of unknown length"],
)
def test_a_connection_is_not_used_again_after(pair: Pair, head: bytes) -> None:
    pair.answers(head)
    pair.connection.receive()
    assert not pair.connection.is_reusable


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"", RemoteDisconnected),
        (b"HTTP/1.1 200 OK\r\nContent-Le", RemoteDisconnected),
        (b"SSH-2.0-OpenSSH\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 OK\r\n\r\n", BadStatusLine),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000, LineTooLong),
    ],
)
def test_what_is_no_answer_is_an_error(pair: Pair, content: bytes, error: type[Exception]) -> None:
    pair.answers(content, ends=True)
    with pytest.raises(error):
        pair.connection.receive()


def test_a_body_that_is_cut_off_is_an_error(pair: Pair) -> None:
    pair.answers(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", ends=True)
    pair.connection.receive()
    with pytest.raises(IncompleteRead):
        pair.body(10)


def test_silence_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1)
    pair = Pair()
    with pytest.raises(TimeoutError):
        pair.connection.receive()
    pair.close()


@pytest.mark.parametrize(
    "told",
    [
        b"Content-Length: 18\r\n\r\n<Code>Busy</Code>!",
        b"Transfer-Encoding: chunked\r\n\r\n12\r\n<Code>Busy</Code>!\r\n0\r\n\r\n",
    ],
    ids=["of a known length", "in chunks"],
)
def test_what_a_store_says_of_a_refusal_is_read_without_waiting_for_more(pair: Pair, told: bytes) -> None:
    pair.answers(b"HTTP/1.1 503 Busy\r\n" + told)
    assert pair.connection.receive().status == 503
    assert b"<Code>Busy</Code>!" in pair.connection.read_some(1000)


def test_a_request_is_sent_whole_and_each_piece_waits_for_its_turn(pair: Pair) -> None:
    body = memoryview(bytes(PIECE_BYTES + 5))
    paced: list[int] = []
    received = bytearray()

    def take() -> None:
        while len(received) < 6 + len(body):
            received.extend(pair.store.recv(2**16))

    taker = threading.Thread(target=take)
    taker.start()
    pair.connection.send(b"HEAD\r\n", body, paced.append)
    taker.join(10)
    assert paced == [PIECE_BYTES, 5]
    assert bytes(received) == b"HEAD\r\n" + bytes(body)
