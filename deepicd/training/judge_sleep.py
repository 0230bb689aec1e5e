"""A judge's server that can sleep: the part in the server, and the switch in the trainer.

vLLM has routes for this only in its development mode, which also exposes others, and requires no key for them.
"""

from __future__ import annotations

import json
import os
import secrets
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from deepicd.errors import JudgeError
from deepicd.spec.environment import JUDGE_API_KEY, JUDGE_ENDPOINT

MIDDLEWARE = "deepicd.training.judge_sleep.Sleeping"
"""Path of `Sleeping`, for vLLM's `--middleware`."""
SLEEP, WAKE = "/v1/sleep", "/v1/wake"
_KEPT = 1
"""vLLM's level of sleep in which the weights are in the machine's memory."""

Message = MutableMapping[str, Any]
Application = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Sleeping:
    """ASGI middleware of a vLLM server: puts its engine to sleep, wakes it, and refuses chats in between.

    Awake at first. A device without sleep mode keeps its memory; everything else is the same there.
    """

    def __init__(self, app: Application) -> None:
        self._app, self._awake = app, True

    async def __call__(
        self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
    ) -> None:
        """Handle one request."""
        path = scope.get("path")
        if scope["type"] != "http" or (path not in (SLEEP, WAKE) and (self._awake or not str(path).startswith("/v1/chat/"))):
            await self._app(scope, receive, send)
        elif path not in (SLEEP, WAKE):
            await _answer(send, 503, "the judge sleeps")
        elif not _has_key(scope["headers"]):
            await _answer(send, 401, "wrong key")
        else:
            await self._turn(scope["app"].state.engine_client, awake=path == WAKE)
            await _answer(send, 200, "awake" if self._awake else "asleep")

    async def _turn(self, engine: Any, *, awake: bool) -> None:
        if awake == self._awake:
            return
        self._awake = self._awake and awake  # no chat is accepted until it is awake
        if engine.vllm_config.model_config.enable_sleep_mode:
            await (engine.wake_up() if awake else engine.sleep(level=_KEPT))
        self._awake = awake


def _has_key(headers: list[tuple[bytes, bytes]]) -> bool:
    expected = f"Bearer {os.environ['VLLM_API_KEY']}".encode()
    return any(name == b"authorization" and secrets.compare_digest(value, expected) for name, value in headers)


async def _answer(send: Callable[[Message], Awaitable[None]], status: int, text: str) -> None:
    body = json.dumps({"state" if status == 200 else "error": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Switch:
    """Wakes the judge's server, and puts it to sleep."""

    def __init__(self, endpoint: str, key: str, seconds: float) -> None:
        """`endpoint`, `key`: of the server; `seconds`: time limit of one switch."""
        self._base, self._key, self._seconds = endpoint.removesuffix("/v1"), key, seconds
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    @classmethod
    def of(cls, variables: Mapping[str, str], seconds: float) -> Switch:
        """The switch of the server whose address and key are among the variables."""
        return cls(variables[JUDGE_ENDPOINT], variables[JUDGE_API_KEY], seconds)

    @contextmanager
    def awake(self) -> Iterator[None]:
        """The server is awake during the body, and asleep after it, unless the body fails.

        Raises:
            JudgeError: it does not wake, or does not go to sleep.
        """
        self._turn(WAKE)
        yield
        self.sleep()

    def sleep(self) -> None:
        """Put the server to sleep.

        Raises:
            JudgeError: it does not go to sleep.
        """
        self._turn(SLEEP)

    def _turn(self, path: str) -> None:
        headers = {"Authorization": f"Bearer {self._key}"}
        request = urllib.request.Request(f"{self._base}{path}", method="POST", headers=headers)  # noqa: S310 - our own server
        try:
            with self._opener.open(request, timeout=self._seconds):
                return
        except OSError as error:
            does = "wake" if path == WAKE else "go to sleep"
            raise JudgeError(
                f"reward.judge.model: its server does not {does} ({type(error).__name__}): see judge.log; run again to resume"
            ) from None
