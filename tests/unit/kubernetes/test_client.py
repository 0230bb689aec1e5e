from __future__ import annotations

import asyncio
import json
import os
import stat
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from deepicd.errors import UserError
from deepicd.kubernetes import login
from deepicd.kubernetes.client import Client
from deepicd.kubernetes.errors import NotFoundError, UnauthorizedError, UnavailableError
from deepicd.kubernetes.kinds import CONFIG_MAP, POD, RUN
from deepicd.kubernetes.login import log_in
from tests.cluster.certificates import Authority
from tests.unit.kubernetes.api_server import Request, Server, kubeconfig, refusal, serving

CONTENT = {"kind": "ConfigMap", "metadata": {"name": "a", "namespace": "n"}}


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for name in ("HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(lambda _: (200, json.dumps(CONTENT))) as server:
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, server.address)))
        yield server


def ask(request: Callable[[Client], Awaitable[Any]], seconds: float = 5) -> Any:
    async def once() -> Any:
        client = Client("tests", seconds)
        try:
            return await request(client)
        finally:
            await client.close()

    return asyncio.run(once())


def get(client: Client) -> Awaitable[Any]:
    return client.get(CONFIG_MAP, "n", "a")


def only(server: Server) -> Request:
    (request,) = server.requests
    return request


def plugin(folder: Path, *tokens: str) -> dict[str, Any]:
    """A user whose credential plugin gives the next of the tokens each time it is run, and then the last one."""
    (folder / "tokens").write_text("\n".join(tokens))
    program = folder / "plugin"
    program.write_text(
        f"#!/bin/sh\ncd {folder}\ntoken=$(head -n 1 tokens)\n"
        '[ "$(wc -l < tokens)" -gt 0 ] && sed -i 1d tokens\n'
        'echo "{\\"apiVersion\\": \\"client.authentication.k8s.io/v1\\", \\"kind\\": \\"ExecCredential\\", '
        '\\"status\\": {\\"token\\": \\"$token\\"}}"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program), "interactiveMode": "Never"}}


def test_an_object_is_made_strictly_and_a_status_is_not(server: Server) -> None:
    ask(lambda client: client.create(CONFIG_MAP, CONTENT))
    ask(lambda client: client.replace_status(RUN, CONTENT))
    made, status = server.requests
    assert (made.method, made.path) == ("POST", "/api/v1/namespaces/n/configmaps")
    assert made.query == {"fieldManager": "tests", "fieldValidation": "Strict"}
    assert made.body == CONTENT
    assert (status.method, status.query) == ("PUT", {"fieldManager": "tests"})
    assert status.path == "/apis/deepicd.io/v1alpha1/namespaces/n/deepicdruns/a/status"


def test_an_object_may_be_nested_as_deep_as_the_api_server_takes_it(server: Server) -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"a": deep}
    ask(lambda client: client.create(CONFIG_MAP, {**CONTENT, "data": deep}))
    assert only(server).body["data"] == deep


def test_changes_say_of_which_sort_they_are(server: Server) -> None:
    ask(lambda client: client.merge(CONFIG_MAP, "n", "a", {"data": {"k": "v"}}))
    ask(lambda client: client.apply(CONFIG_MAP, CONTENT))
    merged, applied = server.requests
    assert (merged.method, merged.content_type, merged.body) == ("PATCH", "application/merge-patch+json", {"data": {"k": "v"}})
    assert (applied.content_type, applied.query["force"]) == ("application/apply-patch+yaml", "true")


def test_a_list_is_read_page_by_page(server: Server) -> None:
    def page(request: Request) -> tuple[int, str]:
        last = "continue" in request.query
        items = [{"metadata": {"name": "b" if last else "a"}}]
        return 200, json.dumps({"items": items, "metadata": {} if last else {"continue": "more"}})

    server.answer = page
    found = ask(lambda client: client.list(POD, "n", {"run": "x", "attempt": "1"}, {"type": "Warning"}))
    assert [(each["kind"], each["metadata"]["name"]) for each in found] == [("Pod", "a"), ("Pod", "b")]
    first, second = server.requests
    assert first.query == {"limit": "250", "labelSelector": "run=x,attempt=1", "fieldSelector": "type=Warning"}
    assert second.query == {**first.query, "continue": "more"}


def test_a_deletion_carries_its_preconditions(server: Server) -> None:
    options = {"preconditions": {"uid": "1"}, "propagationPolicy": "Foreground"}
    ask(lambda client: client.delete(POD, "n", "a", options))
    assert (only(server).method, only(server).body) == ("DELETE", options)


def test_a_log_is_read_line_by_line(server: Server) -> None:
    server.answer = lambda _: (200, "one\ntwo\nthree")

    async def lines(client: Client) -> list[str]:
        return [line async for line in client.log("n", "a", "trainer", follow=True, tail=3)]

    assert ask(lines) == ["one\n", "two\n", "three"]
    assert only(server).query == {"container": "trainer", "follow": "true", "tailLines": "3"}


def test_expired_credentials_are_renewed_by_the_kubeconfigs_plugin(server: Server, tmp_path: Path) -> None:
    server.answer = lambda request: (200, "{}") if request.token == "new" else refusal(401, "Unauthorized")
    kubeconfig(tmp_path, server.address, plugin(tmp_path, "old", "new"))
    assert ask(get) == {}
    assert [request.token for request in server.requests] == ["old", "new"]


def test_requests_at_once_renew_their_credentials_once(server: Server, tmp_path: Path) -> None:
    server.answer = lambda request: (200, "{}") if request.token == "new" else refusal(401, "Unauthorized")
    kubeconfig(tmp_path, server.address, plugin(tmp_path, "old", "new", "newer"))

    async def several(client: Client) -> list[Any]:
        return await asyncio.gather(*(get(client) for _ in range(8)))

    assert ask(several) == [{}] * 8
    assert {request.token for request in server.requests} == {"old", "new"}


def test_credentials_that_cannot_be_renewed_are_asked_with_once(server: Server) -> None:
    server.answer = lambda _: refusal(401, "Unauthorized")
    with pytest.raises(UnauthorizedError):
        ask(get)
    assert only(server).token == "t"


def test_a_missing_object_and_an_unreachable_server_have_different_errors(server: Server) -> None:
    server.answer = lambda _: refusal(404, "NotFound", name="a")
    with pytest.raises(NotFoundError):
        ask(get)
    server.answer = lambda _: (200, "<html>")
    with pytest.raises(UnavailableError, match="not JSON"):
        ask(get)


def test_an_answer_has_a_time_limit(server: Server) -> None:
    gate = threading.Event()

    def late(_: Request) -> tuple[int, str]:
        gate.wait(30)
        return 200, "{}"

    server.answer = late
    try:
        with pytest.raises(UnavailableError, match=r"^timed out$"):
            ask(get, seconds=0.2)
    finally:
        gate.set()


@pytest.mark.parametrize("by", ["environment", "kubeconfig"])
def test_requests_go_through_the_proxy(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    away = "http://api.invalid:6443"
    if by == "environment":
        kubeconfig(tmp_path, away)
        monkeypatch.setenv("HTTP_PROXY", server.address)
    else:
        kubeconfig(tmp_path, away, proxy=server.address)
    assert ask(get) == CONTENT
    assert only(server).target.startswith(f"{away}/api/v1/namespaces/n/configmaps/a")


def test_requests_to_hosts_in_no_proxy_are_direct(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert ask(get) == CONTENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "^kubeconfig: no file .*: set KUBECONFIG"),
        ("][", "^kubeconfig: .* is not a kubeconfig: set KUBECONFIG"),
        ("a: b", "^kubeconfig: Invalid kube-config file"),
        ("", "^kubeconfig: .* is not a kubeconfig: set KUBECONFIG"),
    ],
)
def test_an_invalid_kubeconfig_is_an_error_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None, message: str
) -> None:
    path = tmp_path / "kubeconfig"
    monkeypatch.setenv("KUBECONFIG", str(path))
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        ask(get)


def test_a_plugin_that_gives_nothing_is_an_error_of_the_users(server: Server, tmp_path: Path) -> None:
    kubeconfig(tmp_path, server.address, {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/false"}})
    with pytest.raises(UserError, match=r"^kubeconfig: /bin/false gives no credentials"):
        ask(get)
    assert server.requests == []


def test_a_plugin_that_hangs_is_ended(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "slow-plugin"
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 600\n")
    program.chmod(0o755)
    kubeconfig(tmp_path, server.address, {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": str(program)}})
    monkeypatch.setattr(login, "PLUGIN_SECONDS", 0.5)
    with pytest.raises(UserError, match=r"^kubeconfig: \S+ gave no credentials within 0 s: run it by hand to see why"):
        ask(get)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_token_file_may_end_in_a_line_feed(server: Server, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    kubeconfig(tmp_path, server.address, {"tokenFile": str(tmp_path / "token")})
    assert ask(get) == CONTENT
    assert only(server).token == "from-a-file"


def test_a_plugin_without_a_command_is_an_error_of_the_users(server: Server, tmp_path: Path) -> None:
    kubeconfig(tmp_path, server.address, {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}})
    with pytest.raises(UserError, match=r"^kubeconfig: exec has no command: set KUBECONFIG"):
        ask(get)


@pytest.mark.parametrize(("trust", "user"), [("ca", {"token": "t"}), ("", {"client-certificate-data": "QQ=="})])
def test_broken_trust_or_credentials_are_an_error_of_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trust: str, user: dict[str, Any]
) -> None:
    path = kubeconfig(tmp_path, "https://127.0.0.1:1", user)
    if trust:
        content = json.loads(path.read_text())
        (tmp_path / trust).write_text("no certificate")
        content["clusters"][0]["cluster"]["certificate-authority"] = trust
        path.write_text(json.dumps(content))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(UserError, match=r"^kubeconfig: /.*: give PEM files"):
        ask(get)


def test_a_certificate_that_is_renewed_in_its_place_is_another_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = {"client-certificate": "a.crt", "client-key": "a.key"}
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, "https://127.0.0.1:1", user)))

    def credentials() -> tuple[object, ...]:
        return asyncio.run(log_in()).credentials

    authority = Authority(tmp_path)
    authority.client("a")
    before = credentials()
    assert credentials() == before
    key = (tmp_path / "a.key").read_text()
    authority.client("a")
    assert credentials() != before
    (tmp_path / "a.key").write_text(key)
    with pytest.raises(UserError, match="belongs to the certificate"):  # not all of it is written yet
        credentials()
