"""The store is a socket of the test, which controls each byte of its answers."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from urllib3.exceptions import HTTPError

from deepicd.artifacts.store.s3 import transport as module
from deepicd.artifacts.store.s3.transport import PIECE_BYTES, Transport, checksum
from deepicd.errors import UserError
from deepicd.spec.storage import S3Spec

MIB = 2**20
SECRET = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "the-secret", "AWS_SESSION_TOKEN": "the-token"}


class FakeStore:
    """Answers each request on a connection with the next of `answers`; closes after one of `ends`."""

    def __init__(self) -> None:
        self.reset()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)  # little is under way at a time
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def reset(self) -> None:
        self.answers: list[bytes] = []
        self.ends = False
        self.requests: list[bytes] = []
        self.connections = 0
        self.take: Callable[[socket.socket], bytes] = take_request

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while request := self.take(connection):
                self.requests.append(request)
                if not self.answers:
                    connection.recv(1)  # silence, until the other side hangs up
                    return
                ends = self.ends  # the next test may begin with the answer
                connection.sendall(self.answers.pop(0))
                if ends:
                    return

    def close(self) -> None:
        self._listener.close()


def take_request(connection: socket.socket, pause: float = 0) -> bytes:
    """Read a whole request, with a pause in seconds between the pieces of its body."""
    found = b""
    while b"\r\n\r\n" not in found:
        if not (block := connection.recv(2**16)):
            return b""
        found += block
    head, _, body = found.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0)
    while len(body) < length:
        time.sleep(pause)
        if not (block := connection.recv(2**17)):
            return b""
        body += block
    return head + b"\r\n\r\n" + body


def transport(fake: FakeStore, secret: dict[str, str]) -> Transport:
    return Transport(S3Spec(bucket="bucket", endpoint=fake.endpoint), secret)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeStore, Transport]]:
    """boto3 takes a quarter of a second to make a client."""
    fake = FakeStore()
    yield fake, transport(fake, SECRET)
    fake.close()


@pytest.fixture
def fake(shared: tuple[FakeStore, Transport]) -> FakeStore:
    shared[0].reset()
    return shared[0]


@pytest.fixture
def of(shared: tuple[FakeStore, Transport]) -> Transport:
    """The transport to `fake`, without a connection yet."""
    shared[1]._manager.clear()
    return shared[1]


@pytest.fixture
def impatient(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> Transport:
    """One that waits a second, and sends little ahead."""
    monkeypatch.setattr(module, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(module, "ANSWER_SECONDS", 1)
    made = transport(fake, SECRET)
    made._manager.connection_pool_kw["socket_options"] = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)]
    return made


def get(of: Transport, length: int, start: int = 0) -> tuple[int, bytes]:
    """The size of the object, and what came."""
    pieces: list[tuple[bytes, int]] = []
    size = of.get("key", start, length, lambda piece, offset: pieces.append((piece, offset)))
    assert [offset for _, offset in pieces] == list(range(0, sum(len(piece) for piece, _ in pieces), PIECE_BYTES))
    return size, b"".join(piece for piece, _ in pieces)


def put(of: Transport, body: bytes = b"body") -> str:
    return of.put("key", body, {}, lambda count: None)


def answer(body: bytes, head: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 " + head, b"Content-Length: %d" % len(body), *headers, b"", body]
    return b"\r\n".join(lines)


def chunked(*chunks: bytes, head: bytes = b"200 OK") -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in (*chunks, b""))
    return b"HTTP/1.1 " + head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + body


def test_a_request_is_signed_and_carries_its_checksum_and_no_secret(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"", b"200 OK", b'ETag: "1:2"')]
    etag = of.put("a b/ü", b"body", {"partNumber": "1", "uploadId": "x/="}, lambda count: None)
    assert etag == '"1:2"'
    (request,) = fake.requests
    head = request.decode().lower()
    assert head.startswith("put /bucket/a%20b/%c3%bc?partnumber=1&uploadid=x%2f%3d http/1.1")
    for header in ("authorization: aws4-hmac-sha256", "x-amz-checksum-crc32: ", "x-amz-security-token: the-token"):
        assert f"\r\n{header}" in head
    assert "x-amz-content-sha256: unsigned-payload" in head
    assert request.endswith(b"\r\n\r\nbody")
    assert b"the-secret" not in request


def test_the_checksum_is_in_the_form_of_s3() -> None:
    assert checksum(b"123456789") == "y/Q5Jg=="


def test_without_credentials_nothing_is_sent(fake: FakeStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in SECRET:
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, "/nonexistent")
    with pytest.raises(NoCredentialsError):
        put(transport(fake, {}))
    assert fake.requests == []


def test_a_body_arrives_in_whole_pieces_in_their_order(fake: FakeStore, of: Transport) -> None:
    body = bytes(range(256)) * (PIECE_BYTES // 256) * 2 + b"rest"
    fake.answers = [answer(body)]
    assert get(of, len(body)) == (len(body), body)


def test_a_body_in_chunks_arrives_whole(fake: FakeStore, of: Transport) -> None:
    fake.answers = [chunked(b"abc", bytes(PIECE_BYTES), b"d")]
    assert get(of, PIECE_BYTES + 4) == (PIECE_BYTES + 4, b"abc" + bytes(PIECE_BYTES) + b"d")


def test_a_body_in_chunks_that_is_longer_than_asked_for_shows_in_the_size(fake: FakeStore, of: Transport) -> None:
    fake.answers = [chunked(b"abcdef")]
    assert get(of, 3) == (4, b"abc")


def test_a_range_comes_with_the_size_of_the_whole_object(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"def", b"206 Partial Content", b"Content-Range: bytes 3-5/10")]
    assert get(of, 3, start=3) == (10, b"def")
    assert b"\r\nrange: bytes=3-5\r\n" in fake.requests[0].lower()


def test_an_object_longer_than_expected_is_not_read_to_its_end(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"abcdef"), answer(b"xyz")]
    assert get(of, 3) == (6, b"abc")
    assert get(of, 3) == (3, b"xyz")
    assert fake.connections == 2


def test_a_store_that_ignores_ranges_is_named(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"abcdef")]
    with pytest.raises(UserError, match="ignores the Range header"):
        get(of, 3, start=3)


def test_requests_follow_each_other_on_one_connection(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"a"), answer(b""), answer(b"", b"204 No Content"), chunked(b"b")]
    assert get(of, 1) == (1, b"a")
    put(of)
    with pytest.raises(ClientError):
        put(of)
    assert get(of, 2) == (1, b"b")
    assert fake.connections == 1


@pytest.mark.parametrize("says_so", [True, False])
def test_a_connection_that_the_store_closed_is_not_used_again(fake: FakeStore, of: Transport, says_so: bool) -> None:
    fake.ends = True
    for _ in range(3):
        fake.answers = [answer(b"a", b"200 OK", *([b"Connection: close"] if says_so else []))]
        assert get(of, 1) == (1, b"a")
        time.sleep(0.05)
    assert fake.connections == 3


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 206 Partial Content\r\nContent-Length: 3\r\nContent-Range: bytes 0-2/20\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot-a-length\r\nabc",
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"HTTP/1.1 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 20_000,
    ],
    ids=["nothing", "a cut body", "a short range", "a cut chunk", "no chunk", "no HTTP", "no status", "an endless head"],
)
def test_an_answer_that_is_incomplete_or_no_http_is_an_error(fake: FakeStore, of: Transport, content: bytes) -> None:
    fake.answers, fake.ends = [content], True
    with pytest.raises(HTTPError):
        get(of, 10)


def test_a_silent_store_is_an_error(fake: FakeStore, impatient: Transport) -> None:
    with pytest.raises(HTTPError, match="timed out"):
        get(impatient, 1)


def test_a_store_that_takes_no_more_of_a_body_is_an_error(fake: FakeStore, impatient: Transport) -> None:
    hang_up = threading.Event()

    def take_nothing(connection: socket.socket) -> bytes:
        hang_up.wait(60)
        return b""

    fake.take = take_nothing
    with pytest.raises(HTTPError, match="timed out"):
        put(impatient, bytes(4 * MIB))
    hang_up.set()


def test_a_slow_store_is_waited_for_as_long_as_it_takes_some(fake: FakeStore, impatient: Transport) -> None:
    """Neither the time for connecting nor the longest silence bounds the whole of a body."""
    fake.take = partial(take_request, pause=0.05)
    fake.answers = [answer(b"")]
    put(impatient, bytes(4 * MIB))
    assert fake.requests[0].endswith(bytes(4 * MIB))


@pytest.mark.parametrize(
    "refusal",
    [answer(b"<Code>SlowDown</Code>", b"503 Busy"), chunked(b"<Code>Slow", b"Down</Code>", head=b"503 Busy")],
    ids=["of a known length", "in chunks"],
)
def test_an_error_code_is_read_though_the_body_was_not(fake: FakeStore, of: Transport, refusal: bytes) -> None:
    def take_head(connection: socket.socket) -> bytes:
        return connection.recv(100)

    fake.take = take_head
    fake.answers, fake.ends = [refusal], True
    with pytest.raises(ClientError) as found:
        put(of, bytes(100))
    assert found.value.response["Error"]["Code"] == "SlowDown"
    assert found.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503


def test_a_redirect_is_not_followed(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"", b"307 Temporary Redirect", b"Location: http://127.0.0.1:9/elsewhere")]
    with pytest.raises(ClientError) as found:
        put(of)
    assert found.value.response["ResponseMetadata"]["HTTPHeaders"]["location"] == "http://127.0.0.1:9/elsewhere"


def test_each_piece_of_a_body_waits_for_its_turn(fake: FakeStore, of: Transport) -> None:
    fake.answers = [answer(b"")]
    paced: list[int] = []
    of.put("key", bytes(PIECE_BYTES + 5), {}, paced.append)
    assert paced == [PIECE_BYTES, 5]
    assert fake.requests[0].endswith(b"\r\n\r\n" + bytes(PIECE_BYTES + 5))
