"""HTTP client of a server with the OpenAI API: the judge's, or the teacher's.

No message has any of what was sent or answered: it quotes notes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

from deepicd.errors import DeepICDError, UserError

try:
    import aiohttp
except ModuleNotFoundError:
    raise UserError("aiohttp is not installed: install deepicd[cluster]") from None

T = TypeVar("T")
TRIES = 4
"""Tries of a request, before its answer is missing."""
CHAT = "chat/completions"
"""Path of one chat."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_MOST_BYTES = 16 * 2**20
_TOO_LONG = ("context length", "context_length", "maximum context", "max_model_len", "too long", "longer than the maximum")
_RELEASE = re.compile(r"(-\d{4}-?\d{2}-?\d{2})?")
_WRONG_KEY = frozenset({401, 403})
_AGAIN = frozenset({408, 409, 425, 429})


class Missing(StrEnum):
    """Why an answer is missing."""

    UNREACHABLE = "unreachable"
    """No connection, or it broke."""
    TIMED_OUT = "timed_out"
    """No answer within `timeout`."""
    BUSY = "busy"
    """Status 429."""
    SERVER_ERROR = "server_error"
    """Status 5xx."""
    NOT_AN_ANSWER = "not_an_answer"
    """Not the API's JSON: HTML, half an answer, an empty one."""
    TOO_LONG = "too_long"
    """The prompt does not fit the model's context."""
    REFUSED = "refused"
    """Another status of 4xx."""
    OTHER_MODEL = "other_model"
    """Another model answered than the named one."""
    NOT_A_VERDICT = "not_a_verdict"
    """A judge's answer does not have the rubric's form."""


PASSING = frozenset({Missing.UNREACHABLE, Missing.TIMED_OUT, Missing.BUSY, Missing.SERVER_ERROR, Missing.NOT_AN_ANSWER})
"""Temporary failures, after which a request is tried again."""


class FailedError(Exception):
    """A request failed."""

    def __init__(self, reason: Missing, wait: float | None = None) -> None:
        """`wait`: seconds that the server asks to wait."""
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Endpoint:
    """Sends requests for one model, and counts them. An asynchronous context."""

    def __init__(
        self,
        address: str,
        model: str,
        *,
        key: str | None,
        timeout_seconds: float,
        field: str,
        unreachable: type[DeepICDError],
        connections: int = 100,
    ) -> None:
        """Prepare the client; it connects with the first request.

        Args:
            address: ends before `/chat/completions`.
            model: its name there.
            key: sent as a bearer token.
            timeout_seconds: of one request.
            field: of run.yaml, for messages.
            unreachable: the error of `check` if the server does not answer.
            connections: most at a time.
        """
        self.requests = 0
        self.field = field
        self._base, self._model, self._unreachable = address.rstrip("/"), model, unreachable
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, timeout_seconds))
        self._connections = connections
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(limit=self._connections)
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers, connector=connector)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def check(self) -> None:
        """Ask for the server's models.

        Raises:
            UserError: it does not serve the model, or refuses the key.
            DeepICDError: it cannot be reached; of the type `unreachable`.
        """
        try:
            listed = await self.again(lambda: self.call("GET", "models", None))
        except FailedError as failed:
            if failed.reason is Missing.REFUSED:  # a server without this list: the first answer will tell
                return
            raise self._unreachable(
                f"{self.field}: its server does not answer ({failed.reason}): start it, or correct the endpoint"
            ) from None
        models = listed.get("data")
        names = [str(one.get("id")) for one in models if isinstance(one, dict)] if isinstance(models, list) else []
        if names and self._model not in names:
            shown = ", ".join("".join(filter(str.isprintable, name))[:80] for name in names[:5])
            raise UserError(f"{self.field}.name: the server has no model {self._model}: it serves {shown}")

    async def again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works, with back-off, at most `TRIES` times.

        Raises:
            FailedError: the last try failed, or one for good.
        """
        wait = _FIRST_WAIT
        for tries_left in reversed(range(TRIES)):
            try:
                return await call()
            except FailedError as failed:
                if failed.reason not in PASSING or not tries_left:
                    raise
                asked = wait if failed.wait is None else failed.wait
            await asyncio.sleep(min(asked, _LONGEST_WAIT))
            wait *= 2
        raise AssertionError("the last try returns or raises")

    def is_named(self, content: dict[str, Any]) -> bool:
        """Whether an answer is of the named model, or does not say of which."""
        answered = content.get("model")
        if not isinstance(answered, str):
            return True
        # Some servers add the date of the model's release.
        return answered.startswith(self._model) and _RELEASE.fullmatch(answered.removeprefix(self._model)) is not None

    async def call(self, method: str, path: str, content: Any) -> dict[str, Any]:
        """Send one request; returns the JSON object of the answer.

        Raises:
            FailedError: there is none.
            UserError: the server refuses the key.
        """
        assert self._session is not None, "used outside its context"  # noqa: S101
        self.requests += 1
        try:
            async with self._session.request(method, f"{self._base}/{path}", json=content, allow_redirects=False) as response:
                body = b""
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise FailedError(Missing.NOT_AN_ANSWER)
                status, asked = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise FailedError(Missing.TIMED_OUT) from None
        except (aiohttp.ClientError, OSError):
            raise FailedError(Missing.UNREACHABLE) from None
        if status != 200:
            raise self.refusal(path, status, body, float(asked) if asked.isascii() and asked.isdigit() else None)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise FailedError(Missing.NOT_AN_ANSWER)
        return found

    def refusal(self, path: str, status: int, body: bytes, wait: float | None) -> Exception:
        """The error for an answer with another status than 200."""
        if status in _WRONG_KEY:
            return UserError(f"{self.field}.apiKey: the server refuses it (status {status}): correct it")
        if 300 <= status < 400:
            return UserError(
                f"{self.field}.endpoint: the server redirects to another address (status {status}), where no notes are sent: "
                "give the address that answers"
            )
        if status < 300:
            return FailedError(Missing.NOT_AN_ANSWER)
        if status in _AGAIN:
            return FailedError(Missing.BUSY, wait)
        if status >= 500:
            return FailedError(Missing.SERVER_ERROR, wait)
        said = body[:4096].decode(errors="replace").lower()
        return FailedError(Missing.TOO_LONG if any(sign in said for sign in _TOO_LONG) else Missing.REFUSED)


def content_of(choice: Any) -> str | None:
    """The text of one of an answer's `choices`; None if it has none."""
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return None
    text = choice["message"].get("content")
    if isinstance(text, list):  # parts, of which some servers give thoughts apart
        parts = (part.get("text") for part in text if isinstance(part, dict) and part.get("type") == "text")
        text = "".join(part for part in parts if isinstance(part, str))
    return text if isinstance(text, str) and text else None
