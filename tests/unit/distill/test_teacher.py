from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deepicd import endpoint
from deepicd.distill import teacher as module
from deepicd.distill.answers import Answers, Given
from deepicd.distill.question import Question, Sampling
from deepicd.distill.teacher import FAILURES, Teacher
from deepicd.endpoint import Missing
from deepicd.errors import TeacherError, UserError
from deepicd.spec.distill import TeacherSpec
from tests.judge_stub import MODEL, Reply, Stub, stub
from tests.teacher_stub import changed, choice, reply

CANARY = "zanzibarcanary"
PARTS = [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "the"}, {"type": "text", "text": " end"}]


class Clock:
    """A clock that each look moves on."""

    def __init__(self, step: float = 0.0) -> None:
        self.now, self.step = 0.0, step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoint, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(endpoint, "_LONGEST_WAIT", 0.002)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.001)
    monkeypatch.setattr(module, "_LONGEST_PAUSE", 0.002)


def questions(number: int) -> list[Question]:
    return [Question([{"role": "user", "content": f"{CANARY} {place}"}], Sampling(0.9, 64, place)) for place in range(number)]


def echo(prompts: Sequence[str]) -> Reply:
    return reply(f"about {prompts[0][-2:].strip()}")


def ask(
    server: Stub, folder: Path, number: int = 3, clock: Clock | None = None, **fields: Any
) -> tuple[list[Given | None], Teacher]:
    spec = TeacherSpec.model_validate({"endpoint": server.url, "name": MODEL, "timeout": "5s", **fields})
    teacher = Teacher(spec, Answers(folder), "identity", clock or Clock())

    async def work() -> list[Given | None]:
        async with teacher:
            await teacher.check()
            return list(await asyncio.gather(*map(teacher.answer, questions(number))))

    return asyncio.run(work()), teacher


def test_an_answer_comes_with_its_tokens_and_is_never_asked_for_again(tmp_path: Path) -> None:
    with stub() as server:
        server.always = echo
        first, _ = ask(server, tmp_path)
        second, teacher = ask(server, tmp_path)
        assert len(server.chats) == 3
    assert first == second
    assert first[1] == Given("about 1", truncated=False, prompt_tokens=100, completion_tokens=50)
    assert (teacher.asked, teacher.from_kept) == (0, 3)


def test_the_request_is_one_chat_with_its_own_seed(tmp_path: Path) -> None:
    with stub() as server:
        server.always = echo
        ask(server, tmp_path, 2)
        contents = [content for _, content in server.chats]
    assert {content["seed"] for content in contents} == {0, 1}
    assert {(content["model"], content["temperature"], content["max_tokens"]) for content in contents} == {(MODEL, 0.9, 64)}


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, b"slow down", {"Retry-After": "1"}),
        Reply(500, CANARY.encode()),
        Reply(503, b""),
        Reply(200, b"<html>Bad gateway</html>"),
        Reply(200, b'{"model": "judge", "choi'),
        Reply(200, b'{"model": "judge", "choices": []}'),
        Reply(200, b'{"model": "judge", "choices": [{"message": {"content": null}}]}'),
        Reply(drop=True),
    ],
)
def test_passing_faults_are_waited_out(fault: Reply, tmp_path: Path) -> None:
    with stub() as server:
        server.always = echo
        server.faults = [fault] * 20
        answers, teacher = ask(server, tmp_path)
    assert [given.text for given in answers if given] == ["about 0", "about 1", "about 2"]
    assert not teacher.failed


def test_an_hour_of_429_is_waited_out(tmp_path: Path) -> None:
    clock = Clock()

    def limited(prompts: list[str]) -> Reply:
        clock.now += 10
        return Reply(429) if clock.now < 3600 else echo(prompts)

    with stub() as server:
        server.always = limited
        answers, _ = ask(server, tmp_path, 1, clock)
        assert len(server.chats) == 360
    assert answers[0] is not None


def test_a_teacher_without_an_answer_for_its_patience_ends_the_stage_and_loses_nothing(tmp_path: Path) -> None:
    with stub() as server:
        server.always = echo
        ask(server, tmp_path, 2)
        server.always = lambda prompts: Reply(503, CANARY.encode())
        with pytest.raises(TeacherError, match=r"no answer for 1h .giveUpAfter.: server_error") as error:
            ask(server, tmp_path, 3, Clock(step=100), giveUpAfter="1h")
    assert CANARY not in str(error.value)
    assert error.value.exit_code == 75
    assert len(Answers(tmp_path)) == 2


def test_a_dead_endpoint_is_one_line(tmp_path: Path) -> None:
    with stub() as server:
        pass
    with pytest.raises(TeacherError, match=r"stages.distill.teacher: its server does not answer .unreachable."):
        ask(server, tmp_path)


def test_a_question_that_alone_fails_is_given_up(tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(500) if prompts[0].endswith(" 1") else echo(prompts)
        answers, teacher = ask(server, tmp_path, clock=Clock(step=0.001))
    assert [given is None for given in answers] == [False, True, False]
    assert teacher.failed == {Missing.SERVER_ERROR: 1}


def test_a_note_that_is_too_long_for_the_teacher_is_left_out(tmp_path: Path) -> None:
    too_long = Reply(400, b'{"message": "This model\'s maximum context length is 100 tokens"}')
    with stub() as server:
        server.always = lambda prompts: too_long if prompts[0].endswith(" 1") else echo(prompts)
        answers, teacher = ask(server, tmp_path)
    assert [given is None for given in answers] == [False, True, False]
    assert teacher.failed == {Missing.TOO_LONG: 1}


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Reply(400, CANARY.encode()), "the last 32 requests have no answer: refused"),
        (reply("x", model="another"), "other_model: correct stages.distill.teacher.name"),
    ],
)
def test_a_server_that_refuses_everything_ends_the_stage(wrong: Reply, says: str, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: wrong
        with pytest.raises(UserError) as error:
            ask(server, tmp_path, FAILURES)
    assert says in str(error.value)
    assert CANARY not in str(error.value)


def test_questions_that_are_left_after_a_resume_may_all_be_too_long(tmp_path: Path) -> None:
    too_long = Reply(400, b"maximum context length")
    with stub() as server:
        server.always = lambda prompts: echo(prompts) if prompts[0].endswith(" 0") else too_long
        ask(server, tmp_path, 1)
        answers, teacher = ask(server, tmp_path, FAILURES + 2)
        asked_again = [content["max_tokens"] for _, content in server.chats if content["messages"][0]["content"].endswith(" 0")]
    assert [given is None for given in answers] == [False] + [True] * (FAILURES + 1)
    assert teacher.failed == {Missing.TOO_LONG: FAILURES + 1}
    assert asked_again == [64, 1]


def test_a_server_that_answers_no_more_ends_the_stage_after_a_resume(tmp_path: Path) -> None:
    with stub() as server:
        server.always = echo
        ask(server, tmp_path, 1)
        server.always = lambda prompts: Reply(402)
        with pytest.raises(UserError, match="the last 32 requests have no answer: refused"):
            ask(server, tmp_path, FAILURES + 1)


def test_a_wrong_key_and_a_model_that_is_not_served_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stub(key="right") as server:
        monkeypatch.setenv("KEY", "wrong")
        with pytest.raises(UserError, match=r"stages.distill.teacher.apiKey: the server refuses it"):
            ask(server, tmp_path, apiKey={"env": "KEY"})
    with stub() as server, pytest.raises(UserError, match=r"stages.distill.teacher.name: the server has no model other"):
        ask(server, tmp_path, name="other")


def test_a_key_that_is_not_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DEEPICD_TEACHER_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"the variable DEEPICD_TEACHER_API_KEY is not set"):
        Teacher(
            TeacherSpec.model_validate({"endpoint": "http://127.0.0.1:1/v1", "name": "x", "apiKey": {"secret": "s"}}),
            Answers(tmp_path),
            "identity",
        )


def test_an_answer_that_was_cut_off_in_its_thoughts_is_kept_as_cut_off(tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: reply(None, finish="length")
        answers, _ = ask(server, tmp_path, 1)
    assert answers[0] == Given("", truncated=True, prompt_tokens=100, completion_tokens=50)


@pytest.mark.parametrize(
    ("choices", "text"),
    [
        ([choice("first"), choice("second")], "first"),
        ([choice(PARTS)], "the end"),
        ([choice("")], ""),
        ([choice(None, "content_filter")], ""),
    ],
)  # fmt: skip
def test_an_answer_that_arrived_is_paid_once_whatever_its_form(choices: list[Any], text: str, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: changed(reply("x"), choices=choices)
        answers, _ = ask(server, tmp_path, 1)
        assert len(server.chats) == 1
    assert answers[0] == Given(text, truncated=False, prompt_tokens=100, completion_tokens=50)


@pytest.mark.parametrize("usage", [None, 7, {}, {"prompt_tokens": -5, "completion_tokens": True}, {"prompt_tokens": 10**400}])
def test_a_number_of_tokens_that_is_none_counts_as_unknown(usage: Any, tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: changed(reply("x"), usage=usage)
        answers, _ = ask(server, tmp_path, 1)
    assert answers[0] == Given("x", truncated=False, prompt_tokens=0, completion_tokens=0)


def test_a_redirect_ends_the_stage_and_sends_no_note_on(tmp_path: Path) -> None:
    with stub() as other, stub() as server:
        server.always = lambda prompts: Reply(307, b"", {"Location": f"{other.url}/chat/completions"})
        with pytest.raises(UserError, match=r"stages.distill.teacher.endpoint: the server redirects .* .status 307."):
            ask(server, tmp_path)
        assert not other.requests


def test_a_teacher_that_answers_nothing_at_all_is_the_users(tmp_path: Path) -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(404)
        _, teacher = ask(server, tmp_path, 3)
        with pytest.raises(UserError, match=r"none of 3 requests has an answer: refused: use a server with the OpenAI API"):
            teacher.check_answered()
        server.always = echo
        _, teacher = ask(server, tmp_path, 3)
        teacher.check_answered()


def test_the_names_of_other_models_are_shown_on_one_line(tmp_path: Path) -> None:
    names = b'{"data": [{"id": "one\\n\\u001b[31mtwo"}]}'
    with stub() as server:
        server.models = Reply(body=names)
        with pytest.raises(UserError) as error:
            ask(server, tmp_path)
    assert str(error.value).endswith("it serves one[31mtwo")


def test_no_more_requests_than_allowed_run_at_a_time(tmp_path: Path) -> None:
    running: list[int] = []
    most: list[int] = []

    def slow(prompts: list[str]) -> Reply:
        running.append(1)
        most.append(len(running))
        found = echo(prompts)
        running.pop()
        return found

    with stub() as server:
        server.always = slow
        ask(server, tmp_path, 20, concurrency=2)
    assert max(most) <= 2
