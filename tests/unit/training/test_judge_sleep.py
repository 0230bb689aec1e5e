from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any

import pytest

from deepicd.errors import JudgeError
from deepicd.training import judge_sleep
from deepicd.training.judge_sleep import SLEEP, WAKE, Message, Sleeping, Switch

CHAT = "/v1/chat/completions/batch"


class Engine:
    """Notes what it is asked to do."""

    def __init__(self, *, sleep_mode: bool = True) -> None:
        self.vllm_config = SimpleNamespace(model_config=SimpleNamespace(enable_sleep_mode=sleep_mode))
        self.turns: list[str] = []

    async def sleep(self, level: int) -> None:
        self.turns.append(f"sleep {level}")

    async def wake_up(self) -> None:
        self.turns.append("wake")


class Server:
    """The middleware before an application that answers 200 to everything."""

    def __init__(self, engine: Engine) -> None:
        self.app = SimpleNamespace(state=SimpleNamespace(engine_client=engine))
        self.sleeping = Sleeping(self.answers)

    async def answers(self, scope: Message, receive: Any, send: Callable[[Message], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def ask(self, path: str, key: str = "swordfish") -> int:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            return {}

        headers = [(b"authorization", f"Bearer {key}".encode())]
        scope = {"type": "http", "path": path, "headers": headers, "app": self.app}
        asyncio.run(self.sleeping(scope, receive, send))
        status: int = sent[0]["status"]
        return status


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_API_KEY", "swordfish")


def test_a_sleeping_judge_answers_no_chat_until_it_is_awake_again() -> None:
    engine = Engine()
    server = Server(engine)
    assert [server.ask(path) for path in (CHAT, SLEEP, CHAT, "/health", WAKE, CHAT)] == [200, 200, 503, 200, 200, 200]
    assert engine.turns == ["sleep 1", "wake"]


def test_a_turn_that_is_made_already_does_nothing() -> None:
    engine = Engine()
    server = Server(engine)
    for path in (WAKE, SLEEP, SLEEP, WAKE, WAKE):
        server.ask(path)
    assert engine.turns == ["sleep 1", "wake"]


def test_only_the_key_turns_it() -> None:
    engine = Engine()
    server = Server(engine)
    assert server.ask(SLEEP, key="sardine") == 401
    assert (engine.turns, server.ask(CHAT)) == ([], 200)


def test_a_device_without_sleep_mode_keeps_its_memory_and_the_order() -> None:
    engine = Engine(sleep_mode=False)
    server = Server(engine)
    assert [server.ask(path) for path in (SLEEP, CHAT, WAKE, CHAT)] == [200, 503, 200, 200]
    assert engine.turns == []


def test_vllm_finds_the_middleware_by_its_path() -> None:
    module, name = judge_sleep.MIDDLEWARE.rsplit(".", 1)
    assert (module, name) == (Sleeping.__module__, Sleeping.__name__)


class Turned(ThreadingHTTPServer):
    """Notes the paths that it gets; answers with `status`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[tuple[str, str]] = []
        self.status = 200

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: Turned

    def log_message(self, format: str, *arguments: Any) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        self.server.seen.append((self.path, self.headers["Authorization"]))
        self.send_response(self.server.status)
        self.end_headers()


@pytest.fixture
def turned() -> Iterator[Turned]:
    server = Turned()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_server_is_awake_in_the_body_and_asleep_after_it(turned: Turned) -> None:
    variables = {"DEEPICD_JUDGE_ENDPOINT": turned.endpoint, "DEEPICD_JUDGE_API_KEY": "swordfish"}
    with Switch.of(variables, seconds=60).awake():
        assert turned.seen == [(WAKE, "Bearer swordfish")]
    assert turned.seen[1:] == [(SLEEP, "Bearer swordfish")]


def test_a_server_that_does_not_turn_ends_the_attempt(turned: Turned) -> None:
    turned.status = 500
    switch = Switch(turned.endpoint, "swordfish", 60)
    with (
        pytest.raises(JudgeError, match=r"^reward\.judge\.model: its server does not wake \(HTTPError\): see judge\.log"),
        switch.awake(),
    ):
        pytest.fail("it sleeps")
    with pytest.raises(JudgeError, match="does not go to sleep") as error:
        switch.sleep()
    assert "swordfish" not in str(error.value)
