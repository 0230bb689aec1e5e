"""Answers from the stored answers, or else from the teacher's server. Waits out temporary failures, up to `giveUpAfter`."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from types import TracebackType
from typing import Any, Self

from deepicd.distill.answers import Answers, Given
from deepicd.distill.question import Question
from deepicd.endpoint import CHAT, PASSING, Endpoint, FailedError, Missing, content_of
from deepicd.errors import TeacherError, UserError
from deepicd.spec.base import format_duration
from deepicd.spec.distill import TeacherSpec
from deepicd.spec.environment import TEACHER_API_KEY, TEACHER_ENDPOINT

FIELD = "stages.distill.teacher"
SERVED_NAME = "teacher"
"""Name of the model on a server that the run started."""
FAILURES = 32
"""Consecutive requests that may fail permanently before the stage ends."""
_FIRST_PAUSE, _LONGEST_PAUSE = 5.0, 60.0
_OF_A_QUESTION = frozenset({Missing.TIMED_OUT, Missing.SERVER_ERROR, Missing.NOT_AN_ANSWER})
_MOST_TOKENS = 10**8
"""A larger number cannot be a number of tokens."""
_ROUNDS = 3
"""Rounds of tries after which a question that fails in these ways is given up, if others are answered."""
_REMEDIES = {
    Missing.TOO_LONG: "use a teacher with a longer context, or lower stages.grpo.maxPromptTokens or maxResponseTokens",
    Missing.OTHER_MODEL: f"correct {FIELD}.name",
}


class Teacher:
    """Answers questions. An asynchronous context."""

    def __init__(self, spec: TeacherSpec, answers: Answers, identity: str, clock: Callable[[], float] = time.monotonic) -> None:
        """Prepare the client.

        Args:
            spec: of the teacher. Without an endpoint the environment has the address of its server.
            answers: the stored ones.
            identity: of the model, for the keys of answers.
            clock: seconds.

        Raises:
            UserError: there is no key where one is expected, or no server.
        """
        address = spec.endpoint or os.environ.get(TEACHER_ENDPOINT)
        if address is None:
            raise UserError(f"{FIELD}: has no server here: deepicd distill starts one")
        self.failed: Counter[Missing] = Counter()
        """Questions without an answer, by reason."""
        self.asked = self.from_kept = self.waiting = 0
        self._spec, self._answers, self._identity, self._clock = spec, answers, identity, clock
        self._model = spec.name or SERVED_NAME
        self._endpoint = Endpoint(
            address,
            self._model,
            key=_key(spec),
            timeout_seconds=spec.timeout.total_seconds(),
            field=FIELD,
            unreachable=TeacherError,
            connections=spec.concurrency,
        )
        self._slots = asyncio.Semaphore(spec.concurrency)
        self._last_answer = clock()
        self._failures = 0
        self._answered: Question | None = None

    async def __aenter__(self) -> Self:
        await self._endpoint.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._endpoint.__aexit__(kind, error, trace)

    async def check(self) -> None:
        """See `Endpoint.check`."""
        await self._endpoint.check()
        self._last_answer = self._clock()

    async def answer(self, question: Question) -> Given | None:
        """The answer to a question; None if the teacher permanently has none.

        Raises:
            TeacherError: it gave no answer to anything for `giveUpAfter`.
            UserError: it refuses the key, or most questions.
            OSError: the answer cannot be kept.
        """
        key = question.key(self._identity)
        if (kept := self._answers.get(key)) is not None:
            self.from_kept += 1
            self._answered = question
            return kept
        async with self._slots:
            try:
                given = await self._wait_for(question)
            except FailedError as failed:
                await self._count_failure(failed.reason)
                return None
        self._answers.add(key, given)
        self.asked += 1
        self._answered = question
        self._failures = 0
        return given

    async def _wait_for(self, question: Question) -> Given:
        pause, began = _FIRST_PAUSE, self._clock()
        for rounds in count(1):
            try:
                given = await self._endpoint.again(lambda: self._ask(question))
            except FailedError as failed:
                # If others get their answers, the question is at fault.
                if failed.reason not in PASSING or (
                    failed.reason in _OF_A_QUESTION and rounds >= _ROUNDS and self._last_answer > began
                ):
                    raise
                self._check_patience(failed.reason)
                asked = failed.wait
            else:
                self._last_answer = self._clock()
                return given
            self.waiting += 1
            try:
                await asyncio.sleep(min(max(pause, asked or 0), _LONGEST_PAUSE))
            finally:
                self.waiting -= 1
            pause *= 2
        raise AssertionError("the loop returns or raises")

    async def _ask(self, question: Question) -> Given:
        content = await self._endpoint.call("POST", CHAT, question.fields(self._model))
        if not self._endpoint.is_named(content):
            raise FailedError(Missing.OTHER_MODEL)
        choices = content.get("choices")
        first = choices[0] if isinstance(choices, list) and choices else None
        choice: dict[str, Any] = first if isinstance(first, dict) else {}
        text, finished = content_of(choice), choice.get("finish_reason")
        if text is None and not (isinstance(finished, str) and isinstance(choice.get("message"), dict)):
            raise FailedError(Missing.NOT_AN_ANSWER)
        # Without text it has thought up to its limit, or had nothing to say. That is an answer too, and paid for.
        return Given(text or "", truncated=finished == "length", **_usage(content))

    def _check_patience(self, reason: Missing) -> None:
        limit = self._spec.give_up_after
        if self._clock() - self._last_answer > limit.total_seconds():
            raise TeacherError(
                f"{FIELD}: no answer for {format_duration(limit)} (giveUpAfter): {reason}: check its server, then run again: "
                "the answers so far are kept"
            )

    async def _count_failure(self, reason: Missing) -> None:
        self.failed[reason] += 1
        self._failures += 1
        if self._failures % FAILURES == 0 and not await self._still_answers():
            raise _no_answers(f"the last {FAILURES} requests have no answer", reason)

    async def _still_answers(self) -> bool:
        """Whether the server still answers a question that it answered before, with one token.

        After a resume, only questions without an answer are left.
        """
        if self._answered is None:
            return False
        probe = replace(self._answered, sampling=replace(self._answered.sampling, max_tokens=1))
        try:
            await self._endpoint.again(lambda: self._ask(probe))
        except FailedError as failed:
            return failed.reason in PASSING
        return True

    def check_answered(self) -> None:
        """Raises: UserError: it was asked, and answered nothing at all."""
        if self.failed and not self.asked and not self.from_kept:
            [(reason, _)] = self.failed.most_common(1)
            raise _no_answers(f"none of {self.failed.total()} requests has an answer", reason)


def _no_answers(found: str, reason: Missing) -> UserError:
    remedy = _REMEDIES.get(reason, "use a server with the OpenAI API that takes these requests, such as vLLM")
    return UserError(f"{FIELD}: {found}: {reason}: {remedy}")


def _usage(content: dict[str, Any]) -> dict[str, int]:
    usage = content.get("usage")
    found = usage if isinstance(usage, dict) else {}
    values = {name: found.get(name) for name in ("prompt_tokens", "completion_tokens")}
    return {name: value if type(value) is int and 0 <= value <= _MOST_TOKENS else 0 for name, value in values.items()}


def check_key(spec: TeacherSpec) -> None:
    """Raises: UserError: there is no key where one is expected."""
    _key(spec)


def _key(spec: TeacherSpec) -> str | None:
    if spec.endpoint is None:
        return os.environ.get(TEACHER_API_KEY)
    if spec.api_key is None:
        return None
    name = spec.api_key.env or TEACHER_API_KEY
    if not os.environ.get(name):
        raise UserError(f"{FIELD}.apiKey: the variable {name} is not set: set it to the endpoint's key")
    return os.environ[name]
