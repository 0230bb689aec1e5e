"""Ways to the store: IPv6, proxies, redirects. Each works, or fails with one line that says what to set."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from deepicd.artifacts.store.s3 import S3Store
from deepicd.errors import StoreError, UserError
from deepicd.spec.storage import S3Spec
from tests.cluster.certificates import Authority
from tests.storage.fault_proxy import FaultProxy
from tests.storage.forward_proxy import ForwardProxy
from tests.storage.seaweed import BUCKET, Seaweed, secret_folder

DEAD = "http://127.0.0.1:9"
MIB = 2**20


@pytest.fixture(autouse=True)
def no_proxy_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


MakeProxy = Callable[..., ForwardProxy]


@pytest.fixture
def make_proxy() -> Iterator[MakeProxy]:
    made: list[ForwardProxy] = []

    def make(**options: Any) -> ForwardProxy:
        made.append(ForwardProxy(**options))
        return made[-1]

    yield make
    for proxy in made:
        proxy.close()


def store(endpoint: str, tmp_path: Path, **settings: Any) -> S3Store:
    credentials = {"secretFolder": secret_folder(tmp_path / "secret")}
    spec = {"bucket": BUCKET, "prefix": tmp_path.name, "endpoint": endpoint, "credentials": credentials, **settings}
    return S3Store(S3Spec.model_validate(spec), retry_seconds=2)


def check_copies(chosen: S3Store, tmp_path: Path) -> None:
    """Through boto3, as a data request whole and in parts, and back."""
    chosen.write("latest.json", b"{}")
    (tmp_path / "small").write_bytes(b"small")
    (tmp_path / "large").write_bytes(b"large" * (2 * MIB))
    sent = chosen.upload([(tmp_path / name, name) for name in ("small", "large")])
    assert [item.key for item in chosen.list()] == ["large", "latest.json", "small"]
    chosen.download([(item.key, tmp_path / "out" / item.key, item) for item in sent])
    for name in ("small", "large"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / name).read_bytes()


def has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6 loopback")
def test_an_ipv6_literal_is_an_endpoint_like_any_other(seaweed: Seaweed, tmp_path: Path) -> None:
    proxy = FaultProxy(seaweed.endpoint, host="::1")
    assert proxy.endpoint.startswith("http://[::1]:")
    check_copies(store(proxy.endpoint, tmp_path), tmp_path)
    proxy.close()


def test_without_tls_requests_go_through_the_http_proxy(
    seaweed: Seaweed, make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = make_proxy(login="user:pass word/")
    monkeypatch.setenv("http_proxy", f"http://user:pass%20word%2F@{proxy.address}")
    check_copies(store(seaweed.endpoint, tmp_path), tmp_path)
    assert len(proxy.requests) > 1  # boto3's connections, and ours
    assert all(f" {seaweed.endpoint}/" in line for line in proxy.requests)


@pytest.mark.parametrize("own_tls", [False, True], ids=["http", "https"])
def test_with_tls_requests_go_through_the_https_proxy(
    own_tls: bool, tls: FaultProxy, authority: Authority, make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = make_proxy(certificate=authority.server("proxy") if own_tls else None, login="user:password")
    monkeypatch.setenv("https_proxy", proxy.url.replace("://", "://user:password@"))
    check_copies(store(tls.endpoint, tmp_path, caBundle=str(authority.certificate)), tmp_path)
    assert len(proxy.requests) > 1  # boto3's connections, and ours
    assert {line.rpartition(" ")[0] for line in proxy.requests} == {f"CONNECT {tls.endpoint.removeprefix('https://')}"}


def test_no_proxy_names_stores_that_are_reached_directly(
    seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    monkeypatch.setenv("no_proxy", "example.org,127.0.0.1")
    check_copies(store(seaweed.endpoint, tmp_path), tmp_path)


@pytest.mark.parametrize("act", ["call", "put"])
def test_a_dead_proxy_is_named(act: str, seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", DEAD)
    with pytest.raises(StoreError, match=r"last with Proxy.*HTTPS_PROXY and NO_PROXY are right") as found:
        request(store(seaweed.endpoint, tmp_path), act, tmp_path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("act", ["call", "put"])
def test_a_proxy_that_wants_a_password_is_named(
    act: str, seaweed: Seaweed, make_proxy: MakeProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", make_proxy(login="user:password").url)
    with pytest.raises(UserError, match="the proxy asks for a user and password"):
        request(store(seaweed.endpoint, tmp_path), act, tmp_path)


def test_a_proxy_that_is_no_http_proxy_is_refused(seaweed: Seaweed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "socks5://user:password@127.0.0.1:9")
    with pytest.raises(UserError, match="HTTP_PROXY: is a socks5 proxy: name an http:// or https:// one") as found:
        store(seaweed.endpoint, tmp_path)
    assert "password" not in str(found.value)


@pytest.mark.parametrize("act", ["call", "put"])
@pytest.mark.parametrize("status", [301, 307, 308])
def test_a_redirect_is_not_followed_and_names_the_address_to_set(status: int, act: str, tmp_path: Path) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response_only(status)
            self.send_header("Location", f"https://store.example:9000{self.path}")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_PUT = do_POST = do_HEAD = answer  # noqa: N815

        def log_message(self, *arguments: object) -> None:
            """Nothing."""

    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chosen = store(f"http://127.0.0.1:{server.server_address[1]}", tmp_path)
    with pytest.raises(UserError, match=r"redirects to https://store\.example:9000: set storage\.s3\.endpoint"):
        request(chosen, act, tmp_path)
    server.shutdown()
    server.server_close()


def request(chosen: S3Store, act: str, tmp_path: Path) -> None:
    """One through boto3, or one that carries data."""
    if act == "call":
        chosen.read("latest.json")
        return
    (tmp_path / "small").write_bytes(b"small")
    chosen.upload([(tmp_path / "small", "small")])
