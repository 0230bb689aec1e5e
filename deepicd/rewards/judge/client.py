"""HTTP client of the judge's server: the OpenAI API, and vLLM's extension of it that takes many chats in one request.

No message has any of what was sent or answered: it quotes notes.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from types import TracebackType
from typing import Any, Self, TypeVar

from deepicd.errors import JudgeError, UserError

try:
    import aiohttp
except ModuleNotFoundError:
    raise UserError("reward.judge: aiohttp is not installed: install deepicd[cluster]") from None

T = TypeVar("T")
BATCH = 64
"""Most chats in one request."""
TRIES = 4
"""Tries of a request, before its verdicts are missing."""
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
_MOST_BYTES = 16 * 2**20
_TOKENS_PER_ANSWER, _TOKENS_MORE = 40, 64
_SINGLE, _MANY = "chat/completions", "chat/completions/batch"
_TOO_LONG = ("context length", "context_length", "maximum context", "max_model_len", "too long", "longer than the maximum")
_RELEASE = re.compile(r"(-\d{4}-?\d{2}-?\d{2})?")
_NO_BATCHES = frozenset({404, 405, 501})
_WRONG_KEY = frozenset({401, 403})
_AGAIN = frozenset({408, 409, 425, 429})


class Missing(StrEnum):
    """Why a verdict is missing."""

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
    """The prompt does not fit the judge's context."""
    REFUSED = "refused"
    """Another status of 4xx."""
    OTHER_MODEL = "other_model"
    """Another model answered than the named one."""
    NOT_A_VERDICT = "not_a_verdict"
    """The model's answer does not have the rubric's form."""


PASSING = frozenset({Missing.UNREACHABLE, Missing.TIMED_OUT, Missing.BUSY, Missing.SERVER_ERROR, Missing.NOT_AN_ANSWER})
"""Temporary failures, after which a request is tried again."""


class _FailedError(Exception):
    def __init__(self, reason: Missing, wait: float | None = None) -> None:
        """`wait`: seconds that the server asks to wait."""
        super().__init__(reason)
        self.reason, self.wait = reason, wait


class Client:
    """Asks one model. Counts its requests."""

    def __init__(
        self, endpoint: str, model: str, *, key: str | None, timeout_seconds: float, schema: Mapping[str, Any]
    ) -> None:
        """`endpoint`: ends before `/chat/completions`; `schema`: of each answer."""
        self.requests = 0
        self._base, self._model = endpoint.rstrip("/"), model
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds, sock_connect=min(10.0, timeout_seconds))
        self._takes_many = True
        self._fields = {
            "model": model,
            "temperature": 0,
            "seed": 0,
            "max_tokens": _TOKENS_PER_ANSWER * len(schema["required"]) + _TOKENS_MORE,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "verdict", "strict": True, "schema": dict(schema)},
            },
        }
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=self._timeout, headers=self._headers)
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
            JudgeError: it cannot be reached.
        """
        try:
            listed = await self._again(lambda: self._call("GET", "models", None))
        except _FailedError as failed:
            if failed.reason is Missing.REFUSED:  # a server without this list: the first verdict will tell
                return
            raise JudgeError(
                f"reward.judge: its server does not answer ({failed.reason}): start it, or correct the endpoint"
            ) from None
        models = listed.get("data")
        names = [str(one.get("id")) for one in models if isinstance(one, dict)] if isinstance(models, list) else []
        if names and self._model not in names:
            shown = ", ".join(name[:80] for name in names[:5])
            raise UserError(f"reward.judge.name: the server has no model {self._model}: it serves {shown}")

    async def ask(self, prompts: Sequence[str]) -> list[str | Missing]:
        """The model's answer to each prompt, or why there is none. At most `BATCH` prompts, in one request if possible.

        Raises:
            UserError: the server refuses the key.
        """
        if len(prompts) > 1 and self._takes_many:
            chats = [_chat(prompt) for prompt in prompts]
            try:
                return await self._again(lambda: self._answers(_MANY, chats, len(prompts)))
            except _FailedError as failed:
                if failed.reason in PASSING:
                    return [failed.reason] * len(prompts)
            if not self._takes_many:
                return await self._one_by_one(prompts)
            # One chat at fault fails them all.
            half = len(prompts) // 2
            first, second = await asyncio.gather(self.ask(prompts[:half]), self.ask(prompts[half:]))
            return [*first, *second]
        return await self._one_by_one(prompts)

    async def _one_by_one(self, prompts: Sequence[str]) -> list[str | Missing]:
        async def one(prompt: str) -> str | Missing:
            try:
                (answer,) = await self._again(lambda: self._answers(_SINGLE, _chat(prompt), 1))
            except _FailedError as failed:
                return failed.reason
            return answer

        return list(await asyncio.gather(*map(one, prompts)))

    async def _again(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until it works, with back-off, at most `TRIES` times."""
        wait = _FIRST_WAIT
        for tries_left in reversed(range(TRIES)):
            try:
                return await call()
            except _FailedError as failed:
                if failed.reason not in PASSING or not tries_left:
                    raise
                asked = wait if failed.wait is None else failed.wait
            await asyncio.sleep(min(asked, _LONGEST_WAIT))
            wait *= 2
        raise AssertionError("the last try returns or raises")

    async def _answers(self, path: str, messages: Any, count: int) -> list[str | Missing]:
        content = await self._call("POST", path, {**self._fields, "messages": messages})
        answered = content.get("model")
        if isinstance(answered, str) and not self._is_named(answered):
            return [Missing.OTHER_MODEL] * count
        choices = content.get("choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise _FailedError(Missing.NOT_AN_ANSWER)
        found: list[str | Missing] = [Missing.NOT_AN_ANSWER] * count
        for place, choice in enumerate(choices):
            index = choice.get("index", place) if isinstance(choice, dict) else None
            text = (
                choice["message"].get("content")
                if isinstance(choice, dict) and isinstance(choice.get("message"), dict)
                else None
            )
            if isinstance(index, int) and 0 <= index < count and isinstance(text, str) and text:
                found[index] = text
        return found

    def _is_named(self, answered: str) -> bool:
        # Some servers add the date of the model's release.
        return answered.startswith(self._model) and _RELEASE.fullmatch(answered.removeprefix(self._model)) is not None

    async def _call(self, method: str, path: str, content: Any) -> dict[str, Any]:
        assert self._session is not None, "used outside its context"  # noqa: S101
        self.requests += 1
        try:
            async with self._session.request(method, f"{self._base}/{path}", json=content, allow_redirects=False) as response:
                body = b""
                async for part in response.content.iter_any():
                    body += part
                    if len(body) > _MOST_BYTES:
                        raise _FailedError(Missing.NOT_AN_ANSWER)
                status, asked = response.status, response.headers.get("Retry-After", "")
        except TimeoutError:
            raise _FailedError(Missing.TIMED_OUT) from None
        except (aiohttp.ClientError, OSError):
            raise _FailedError(Missing.UNREACHABLE) from None
        if status != 200:
            raise self._refusal(path, status, body, float(asked) if asked.isascii() and asked.isdigit() else None)
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise _FailedError(Missing.NOT_AN_ANSWER)
        return found

    def _refusal(self, path: str, status: int, body: bytes, wait: float | None) -> Exception:
        if status in _WRONG_KEY:
            return UserError(f"reward.judge.apiKey: the server refuses it (status {status}): correct it")
        if path == _MANY and status in _NO_BATCHES:
            self._takes_many = False
            return _FailedError(Missing.REFUSED)
        if status in _AGAIN:
            return _FailedError(Missing.BUSY, wait)
        if status >= 500:
            return _FailedError(Missing.SERVER_ERROR, wait)
        said = body[:4096].decode(errors="replace").lower()
        return _FailedError(Missing.TOO_LONG if any(sign in said for sign in _TOO_LONG) else Missing.REFUSED)


def _chat(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]
