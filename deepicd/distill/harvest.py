"""Asks the teacher about each admission until an answer passes the rules or `samples` answers have failed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deepicd.distill.filters import Case, Rule, rejected
from deepicd.distill.form import Answer, read
from deepicd.distill.founded import Later, Note
from deepicd.distill.question import Question, Sampling, messages, seed_of
from deepicd.distill.similar import Seen
from deepicd.distill.teacher import Teacher
from deepicd.prompt import Prompt
from deepicd.spec.distill import DistillSpec


@dataclass(frozen=True, slots=True)
class Admission:
    """One training admission."""

    id: str
    code: str
    """The gold code, without its dot."""
    title: str
    note: str
    later: Later


@dataclass(slots=True)
class Counts:
    """What happened so far."""

    admissions: int = 0
    """Admissions whose questions have been asked or are in flight."""
    settled: int = 0
    """Those of them that have a trace or whose answers have all failed."""
    kept: int = 0
    answers: int = 0
    """Answers read, including stored ones from earlier launches."""
    unanswered: int = 0
    """Questions that permanently have no answer; their admissions are not asked about again."""
    without_tokens: int = 0
    """Answers for which the server did not report a token count."""
    rejected: Counter[Rule] = field(default_factory=Counter)
    """Answers by the rule that rejected them."""
    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(slots=True)
class _State:
    """One admission: how many answers were requested, and the trace kept so far."""

    asked: int = 0
    trace: str | None = None
    final: bool = False


class Harvest:
    """The traces of all admissions."""

    def __init__(
        self, settings: DistillSpec, teacher: Teacher, *, seed: int, own: Prompt | None, english: bool, in_flight: int
    ) -> None:
        """Prepare.

        Args:
            settings: of the stage.
            teacher: in its context.
            seed: of the run.
            own: the prompt that the teacher was trained with, if it is asked with that.
            english: whether the notes are in English.
            in_flight: maximum number of concurrent admissions.
        """
        self.counts = Counts()
        self._settings, self._teacher, self._seed, self._own, self._english = settings, teacher, seed, own, english
        self._in_flight = in_flight
        self._samples = settings.samples if settings.temperature > 0 else 1  # a further answer would be the same
        self._states: dict[str, _State] = {}

    async def run(self, admissions: Callable[[], Iterator[Admission]]) -> dict[str, str]:
        """The kept trace by id, in the admissions' order.

        The same answers give the same traces in whatever order they arrive, because near-duplicates are found in the
        admissions' order after all answers have arrived. The teacher is asked again about the later of two.

        Args:
            admissions: returns all admissions from the first, at each call.

        Raises:
            TeacherError, UserError, OSError: see `Teacher.answer`.
        """
        similarity = self._settings.filters.similarity
        seen = None if similarity is None else Seen(similarity)
        while await self._ask_all(admissions()):
            if seen is not None:
                self._keep_distinct(seen)
        return {identity: state.trace for identity, state in self._states.items() if state.trace is not None}

    async def _ask_all(self, admissions: Iterator[Admission]) -> bool:
        """Ask about the admissions without a trace that may get more answers; returns whether there was one."""
        running: set[asyncio.Task[None]] = set()
        worked = False
        try:
            for admission in admissions:
                state = self._states.get(admission.id)
                if state is None:
                    state = self._states[admission.id] = _State()
                    self.counts.admissions += 1
                if state.trace is not None or state.asked >= self._samples:
                    continue
                worked = True
                running.add(asyncio.create_task(self._ask(admission, state)))
                if len(running) >= self._in_flight:
                    running = await _some(running)
            while running:
                running = await _some(running)
        finally:
            for task in running:
                task.cancel()
        return worked

    async def _ask(self, admission: Admission, state: _State) -> None:
        settings, counts = self._settings, self.counts
        chat = messages(admission.note, admission.code, admission.title, oracle=settings.oracle, own=self._own)
        case: Case | None = None
        while state.trace is None and state.asked < self._samples:
            seed = seed_of(self._seed, admission.id, state.asked)
            state.asked += 1
            given = await self._teacher.answer(
                Question(chat, Sampling(settings.temperature, settings.max_response_tokens, seed))
            )
            if given is None:  # nor would it have one to the same prompt with another seed
                counts.unanswered += 1
                state.asked = self._samples
                break
            counts.answers += 1
            counts.prompt_tokens += given.prompt_tokens
            counts.completion_tokens += given.completion_tokens
            counts.without_tokens += not (given.prompt_tokens and given.completion_tokens)
            if case is None:
                note = Note(admission.note, admission.title, admission.later)
                case = Case(admission.code, admission.title, note, self._english)
            answer: Answer = read(given.text, truncated=given.truncated, own_prompt=self._own is not None)
            rule = rejected(answer, case, settings.filters)
            if rule is None:
                state.trace = answer.trace
            else:
                counts.rejected[rule] += 1
        counts.settled += 1
        counts.kept += state.trace is not None

    def _keep_distinct(self, seen: Seen) -> None:
        for state in self._states.values():
            if state.trace is None or state.final:
                continue
            if seen.add(state.trace):
                state.final = True
                continue
            state.trace = None
            self.counts.rejected[Rule.SIMILAR] += 1
            self.counts.kept -= 1
            if state.asked < self._samples:
                self.counts.settled -= 1


async def _some(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait until one ends; returns those that still run. Raises what one of them has raised."""
    done, left = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return left
