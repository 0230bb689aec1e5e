from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deepicd import endpoint
from deepicd.distill import teacher as module
from deepicd.distill.answers import Answers
from deepicd.distill.filters import Rule
from deepicd.distill.founded import NOTHING_LATER
from deepicd.distill.harvest import Admission, Counts, Harvest
from deepicd.distill.teacher import Teacher
from deepicd.spec.distill import DistillSpec
from tests.judge_stub import MODEL, Reply, Stub, stub
from tests.teacher_stub import changed, good, reply

PARTS = ("knee", "elbow", "ankle", "wrist", "hip", "finger", "scalp", "flank")


def admission(place: int) -> Admission:
    part = PARTS[place]
    note = f"Chief Complaint: {part} trouble\nHistory: man with {part} swelling, warmth, redness over {part}. Walks."
    return Admission(str(place), "L03116", f"Cellulitis of the {part}", note, NOTHING_LATER)


ADMISSIONS = [admission(place) for place in range(len(PARTS))]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (endpoint, module):
        for name in ("_FIRST_WAIT", "_LONGEST_WAIT", "_FIRST_PAUSE", "_LONGEST_PAUSE"):
            monkeypatch.setattr(place, name, 0.001, raising=False)


def harvest(server: Stub, folder: Path, **fields: Any) -> tuple[dict[str, str], Counts]:
    filters = {"similarity": 1, "copied": 1, "minWords": 5} | fields.pop("filters", {})
    teacher_fields = {"endpoint": server.url, "name": MODEL, "timeout": "5s"}
    settings = DistillSpec.model_validate({"teacher": teacher_fields, "filters": filters, **fields})

    async def work() -> tuple[dict[str, str], Counts]:
        teacher = Teacher(settings.teacher, Answers(folder), "identity")
        async with teacher:
            one = Harvest(settings, teacher, seed=42, own=None, english=True, in_flight=4)
            return await one.run(lambda: iter(ADMISSIONS)), one.counts

    return asyncio.run(work())


def answering(text: Callable[[str], str | None]) -> Callable[[list[str]], Reply]:
    return lambda prompts: reply(text(prompts[0]))


def test_each_admission_gets_one_trace_and_one_question_if_the_first_answer_passes(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(good)
        traces, counts = harvest(server, tmp_path)
        assert len(server.chats) == len(PARTS)
    assert list(traces) == [one.id for one in ADMISSIONS]
    assert (counts.kept, counts.settled, counts.answers) == (8, 8, 8)
    assert (counts.prompt_tokens, counts.completion_tokens) == (800, 400)


def test_an_admission_is_asked_about_again_until_its_samples_are_used_up(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(lambda prompt: "I cannot." if "knee" in prompt else good(prompt))
        traces, counts = harvest(server, tmp_path, samples=3)
        assert len(server.chats) == 7 + 3
    assert "0" not in traces
    assert counts.rejected == {Rule.FORM: 3}
    assert (counts.kept, counts.settled) == (7, 8)


def test_a_later_answer_may_pass(tmp_path: Path) -> None:
    asked: list[int] = []

    def third_time(prompt: str) -> str:
        if "knee" not in prompt:
            return good(prompt)
        asked.append(1)
        return good(prompt) if len(asked) == 3 else "no"

    with stub() as server:
        server.always = answering(third_time)
        traces, counts = harvest(server, tmp_path, samples=4)
    assert len(asked) == 3
    assert "0" in traces
    assert counts.rejected == {Rule.FORM: 2}


def test_the_later_of_two_similar_traces_is_asked_about_again_and_the_order_of_arrival_does_not_matter(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(good)
        traces, counts = harvest(server, tmp_path / "one", samples=2, filters={"similarity": 0.3})
    assert list(traces) == ["0"], "they differ in one word"
    assert counts.rejected == {Rule.SIMILAR: 14}
    assert (counts.kept, counts.settled) == (1, 8)


def test_the_same_answers_give_the_same_traces_without_a_further_question(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(good)
        first, _ = harvest(server, tmp_path)
        before = len(server.chats)
        server.always = lambda prompts: Reply(500)
        second, counts = harvest(server, tmp_path)
        assert len(server.chats) == before
    assert first == second
    assert counts.answers == 8


def test_other_filters_cost_no_further_answer(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(good)
        harvest(server, tmp_path, samples=1)
        before = len(server.chats)
        traces, counts = harvest(server, tmp_path, samples=1, filters={"minWords": 500})
        assert len(server.chats) == before
    assert traces == {}
    assert counts.rejected == {Rule.LENGTH: 8}


def test_questions_without_an_answer_are_counted_and_leave_the_others(tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: (
            Reply(400, b"context length") if "hip swelling" in prompts[0] else reply(good(prompts[0]))
        )
        traces, counts = harvest(server, tmp_path, samples=2)
        assert len(server.chats) == 8, "another seed would not make the note shorter"
    assert len(traces) == 7
    assert (counts.unanswered, counts.settled) == (1, 8)


def test_answers_without_a_number_of_tokens_are_counted(tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: changed(reply(good(prompts[0])), usage=None)
        traces, counts = harvest(server, tmp_path)
    assert len(traces) == counts.without_tokens == 8
    assert counts.completion_tokens == 0


def test_a_greedy_teacher_is_asked_once(tmp_path: Path) -> None:
    with stub() as server:
        server.always = answering(lambda prompt: "no")
        _, counts = harvest(server, tmp_path, samples=4, temperature=0)
    assert counts.answers == len(PARTS)
