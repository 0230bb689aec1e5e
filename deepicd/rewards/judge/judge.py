"""Verdicts about completions: from the cache, else from the judge's server; failures are counted, and too many end the run."""

from __future__ import annotations

import asyncio
import os
from collections import Counter, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from deepicd.endpoint import PASSING, Missing
from deepicd.errors import JudgeError, UserError
from deepicd.rewards.judge.cache import Cache
from deepicd.rewards.judge.client import BATCH, Client
from deepicd.rewards.judge.question import Question
from deepicd.rewards.judge.roles import FIRST, Role, roles_of
from deepicd.rewards.judge.rubric import Rubric, load_rubric, to_verdict
from deepicd.spec.judge import JudgeModelSpec, JudgeSpec

IN_FLIGHT = 8
"""Requests at a time."""
WINDOW = 256
"""Number of the last verdicts of which `maxFailures` is a share."""
_AT_LEAST = 32
_PAUSE_SECONDS = 10.0
Verdict = tuple[bool, ...]


class Judge:
    """Judges completions. An asynchronous context."""

    def __init__(self, spec: JudgeSpec, folder: Path | None = None, *, pauses: bool = False, role: Role = FIRST) -> None:
        """Read the rubric and the cache.

        Args:
            spec: of the judges. For a `model` the environment has the address of its server.
            folder: keeps verdicts; without it they are only in memory.
            pauses: whether `onFailure: skip` waits when too many verdicts are missing, or else gives up.
            role: which of the judges this is; the spec has its model.

        Raises:
            UserError: the rubric is invalid, or there is no key where one is expected.
        """
        self.rubric: Rubric = load_rubric(spec.rubric)
        self.missing: Counter[Missing] = Counter()
        """Number of missing verdicts by reason."""
        self.answered = self.from_cache = 0
        self._spec, self._field, self._pauses = spec, role.field, pauses and spec.on_failure == "skip"
        self._cache = Cache(folder)
        model = role.model(spec)
        assert model is not None  # noqa: S101 - see `role`
        endpoint = model.endpoint or os.environ.get(role.endpoint_variable)
        if endpoint is None:
            raise UserError(f"{role.field}.model: has no server here: deepicd run starts one; give an endpoint instead")
        self._model = model.identity
        self.client = Client(
            endpoint,
            role.served_name if model.model else self._model,
            key=_key(role, model),
            timeout_seconds=spec.timeout.total_seconds(),
            schema=self.rubric.verdict_schema,
            field=role.field,
        )
        self._recent: deque[bool] = deque(maxlen=WINDOW)
        self._slots = asyncio.Semaphore(IN_FLIGHT)

    async def __aenter__(self) -> Self:
        await self.client.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.client.__aexit__(kind, error, trace)

    async def verdicts(self, questions: Sequence[Question]) -> list[Verdict | None]:
        """The verdict about each question, in the order of the rubric's criteria; None if it is missing.

        Raises:
            JudgeError: more verdicts are missing than allowed.
            UserError: the server refuses the key, or most answers are no verdicts.
        """
        keys = [question.key(self._model) for question in questions]
        prompts = {key: question.prompt for key, question in zip(keys, questions, strict=True)}
        known = {key: self._cache.get(key, len(self.rubric.criteria)) for key in prompts}
        asked = [key for key, verdict in known.items() if verdict is None]
        self.from_cache += len(prompts) - len(asked)
        parts = [asked[start : start + BATCH] for start in range(0, len(asked), BATCH)]
        for found in await asyncio.gather(*(self._ask({key: prompts[key] for key in part}) for part in parts)):
            known |= found
        return [known[key] for key in keys]

    async def _ask(self, prompts: dict[str, str]) -> dict[str, Verdict | None]:
        """Ask about the prompts in one request, and again while the run pauses."""
        found: dict[str, Verdict | None] = dict.fromkeys(prompts)
        left, paused = dict(prompts), False
        while True:
            async with self._slots:
                answers = await self.client.ask(list(left.values()))
            read = {key: self._read(answer) for key, answer in zip(left, answers, strict=True)}
            verdicts = {key: verdict for key, verdict in read.items() if not isinstance(verdict, Missing)}
            self._cache.add(verdicts)
            found |= verdicts
            failed = {key: reason for key, reason in read.items() if isinstance(reason, Missing)}
            self._recent.extend(key in failed for key in left)
            self.answered += len(verdicts)
            if paused and not failed:
                self._recent.clear()
                return found
            if sum(self._recent) <= self._spec.max_failures * max(len(self._recent), _AT_LEAST):
                self.missing.update(failed.values())
                return found
            passing = {key: left[key] for key, reason in failed.items() if reason in PASSING}
            if not self._pauses or not passing:
                self.missing.update(failed.values())
                if failed:
                    self._give_up(failed)
                return found
            self.missing.update(reason for reason in failed.values() if reason not in PASSING)
            left, paused = passing, True
            await asyncio.sleep(_PAUSE_SECONDS)

    def _read(self, answer: str | Missing) -> Verdict | Missing:
        if isinstance(answer, Missing):
            return answer
        try:
            return to_verdict(self.rubric, answer)
        except (ValueError, RecursionError):
            return Missing.NOT_A_VERDICT

    def _give_up(self, failed: dict[str, Missing]) -> None:
        share = f"{sum(self._recent)} of the last {len(self._recent)} verdicts are missing (reward.judge.maxFailures)"
        reason, _ = Counter(failed.values()).most_common(1)[0]
        if reason in PASSING:
            raise JudgeError(f"{self._field}: {share}: {reason}: check its server, then run again to resume")
        remedy = {
            Missing.TOO_LONG: "use a judge with a longer context, or lower stages.grpo.maxPromptTokens",
            Missing.OTHER_MODEL: f"correct {self._field}.name",
            Missing.NOT_A_VERDICT: "use a server that keeps to response_format, such as vLLM",
        }.get(reason, "use a server with the OpenAI API that takes response_format, such as vLLM")
        raise UserError(f"{self._field}: {share}: {reason}: {remedy}")


def check_judge(spec: JudgeSpec) -> None:
    """Check that each endpoint of the judges answers and serves the model, before a stage depends on it.

    Raises:
        UserError: the rubric is invalid, an endpoint does not serve the model, or it refuses the key.
        JudgeError: one cannot be reached.
    """

    async def check() -> None:
        for role, model in roles_of(spec):
            if model.endpoint is not None:
                async with Judge(spec, role=role) as judge:
                    await judge.client.check()

    # In a thread: in the main thread asyncio.run makes Ctrl-C a cancellation, which aiohttp may swallow.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(check())).result()


def _key(role: Role, model: JudgeModelSpec) -> str | None:
    if model.model is not None:
        return os.environ.get(role.key_variable)
    if model.api_key is None:
        return None
    name = model.api_key.env or role.key_variable
    if not os.environ.get(name):
        raise UserError(f"{role.field}.apiKey: the variable {name} is not set: set it to the endpoint's key")
    return os.environ[name]
