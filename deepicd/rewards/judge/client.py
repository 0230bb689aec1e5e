"""The judge's client: verdicts by a schema, and vLLM's extension of the OpenAI API that takes many chats in one request."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from deepicd.endpoint import CHAT, PASSING, Endpoint, FailedError, Missing, content_of
from deepicd.errors import JudgeError

BATCH = 64
"""Most chats in one request."""
_TOKENS_PER_ANSWER, _TOKENS_MORE = 40, 64
_MANY = f"{CHAT}/batch"
_NO_BATCHES = frozenset({404, 405, 501})


class _TooManyError(Exception):
    """A request of several chats timed out: the same request would again."""


class Client(Endpoint):
    """Asks the judge's model."""

    def __init__(
        self,
        endpoint: str,
        model: str,
        *,
        key: str | None,
        timeout_seconds: float,
        schema: Mapping[str, Any],
        field: str = "reward.judge",
    ) -> None:
        """`endpoint`: ends before `/chat/completions`; `schema`: of each answer; `field`: of run.yaml, for messages."""
        super().__init__(endpoint, model, key=key, timeout_seconds=timeout_seconds, field=field, unreachable=JudgeError)
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

    async def ask(self, prompts: Sequence[str]) -> list[str | Missing]:
        """The model's answer to each prompt, or why there is none. At most `BATCH` prompts, in one request if possible.

        Raises:
            UserError: the server refuses the key.
        """
        if len(prompts) > 1 and self._takes_many:
            half = len(prompts) // 2
            try:
                return await self.again(lambda: self._many(prompts))
            except _TooManyError:
                return await self._in_turn(prompts[:half], prompts[half:])
            except FailedError as failed:
                if failed.reason in PASSING:
                    return [failed.reason] * len(prompts)
            if not self._takes_many:
                return await self._one_by_one(prompts)
            # One chat at fault fails them all.
            first, second = await asyncio.gather(self.ask(prompts[:half]), self.ask(prompts[half:]))
            return [*first, *second]
        return await self._one_by_one(prompts)

    async def _in_turn(self, first: Sequence[str], second: Sequence[str]) -> list[str | Missing]:
        """Both together would take as long again. The second is not asked about if the server does not answer at all."""
        answers = await self.ask(first)
        if all(answer is Missing.TIMED_OUT for answer in answers):
            return [*answers, *[Missing.TIMED_OUT] * len(second)]
        return [*answers, *await self.ask(second)]

    async def _many(self, prompts: Sequence[str]) -> list[str | Missing]:
        try:
            return await self._answers(_MANY, [_chat(prompt) for prompt in prompts], len(prompts))
        except FailedError as failed:
            if failed.reason is Missing.TIMED_OUT:
                raise _TooManyError from None
            raise

    async def _one_by_one(self, prompts: Sequence[str]) -> list[str | Missing]:
        async def one(prompt: str) -> str | Missing:
            try:
                (answer,) = await self.again(lambda: self._answers(CHAT, _chat(prompt), 1))
            except FailedError as failed:
                return failed.reason
            return answer

        return list(await asyncio.gather(*map(one, prompts)))

    async def _answers(self, path: str, messages: Any, count: int) -> list[str | Missing]:
        content = await self.call("POST", path, {**self._fields, "messages": messages})
        if not self.is_named(content):
            return [Missing.OTHER_MODEL] * count
        choices = content.get("choices")
        if not isinstance(choices, list) or len(choices) != count:
            raise FailedError(Missing.NOT_AN_ANSWER)
        found: list[str | Missing] = [Missing.NOT_AN_ANSWER] * count
        for place, choice in enumerate(choices):
            text = content_of(choice)
            index = choice.get("index", place) if text is not None else None
            if text is not None and isinstance(index, int) and 0 <= index < count:
                found[index] = text
        return found

    def refusal(self, path: str, status: int, body: bytes, wait: float | None) -> Exception:
        """See `Endpoint`. A server without batches is asked one by one from then on."""
        if path == _MANY and status in _NO_BATCHES:
            self._takes_many = False
            return FailedError(Missing.REFUSED)
        return super().refusal(path, status, body, wait)


def _chat(prompt: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": prompt}]
