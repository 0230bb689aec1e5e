from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest

from deepicd import endpoint as module
from deepicd.endpoint import Missing
from deepicd.errors import JudgeError, UserError
from deepicd.rewards.judge.client import Client
from tests.judge_stub import MODEL, Reply, Stub, completed, stub

CANARY = "zanzibarcanary"
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
PROMPTS = [f"{CANARY} {number}: a" for number in range(5)]
YES = '{"a": true}'


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(module, "_LONGEST_WAIT", 0.02)


def ask(
    server: Stub, prompts: Sequence[str] = PROMPTS, *, model: str = MODEL, key: str | None = None, seconds: float = 60
) -> list[str | Missing]:
    async def work() -> list[str | Missing]:
        async with Client(server.url, model, key=key, timeout_seconds=seconds, schema=SCHEMA) as client:
            return await client.ask(prompts)

    return asyncio.run(work())


def test_many_prompts_go_in_one_request() -> None:
    with stub() as server:
        assert ask(server) == [YES] * 5
        assert [path for path, _ in server.chats] == ["/v1/chat/completions/batch"]


def test_each_prompt_is_a_chat_of_its_own_and_the_form_of_its_answer_is_demanded() -> None:
    with stub() as server:
        ask(server)
        ((_, content),) = server.chats
    assert [chat[0]["content"] for chat in content["messages"]] == PROMPTS
    assert {len(chat) for chat in content["messages"]} == {1}
    assert content["response_format"]["json_schema"]["schema"] == SCHEMA
    assert (content["model"], content["temperature"]) == (MODEL, 0)


def test_a_server_without_batches_is_asked_one_by_one_from_then_on() -> None:
    with stub(batches=False) as server:
        assert ask(server) == [YES] * 5
        assert [path for path, _ in server.chats] == ["/v1/chat/completions/batch"] + ["/v1/chat/completions"] * 5


def test_answers_are_matched_by_their_index() -> None:
    def mixed(prompts: list[str]) -> Reply:
        choices = [{"index": place, "message": {"content": prompt[-4]}} for place, prompt in enumerate(prompts)]
        return Reply(body=json.dumps({"model": MODEL, "choices": choices[::-1]}).encode())

    with stub() as server:
        server.always = mixed
        assert ask(server) == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize(
    "fault",
    [
        Reply(429, headers={"Retry-After": "0"}),
        Reply(500, b"oops"),
        Reply(503, headers={"Retry-After": "Fri, 31 Dec 2027 23:59:59 GMT"}),
        Reply(drop=True),
        Reply(body=b"<html>Welcome</html>", headers={"Content-Type": "text/html"}),
        Reply(body=b'{"choices": [{"index": 0, "mess'),
        Reply(body=b""),
        Reply(body=b"[]"),
        Reply(body=b"[" * 5000),
        Reply(body=b'{"choices": []}'),
        Reply(body=b'{"choices": {"0": "x"}}'),
        Reply(body=YES.encode(), headers={"Content-Length": "100", "Connection": "close"}),
    ],
    ids=lambda fault: f"{fault.status} {fault.body[:20]!r} {fault.headers} {fault.seconds} {fault.drop}",
)
def test_a_failure_that_may_pass_is_tried_again(fault: Reply) -> None:
    with stub() as server:
        server.faults = [fault, fault]
        assert ask(server) == [YES] * 5
        assert len(server.chats) == 3


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (Reply(429), Missing.BUSY),
        (Reply(502), Missing.SERVER_ERROR),
        (Reply(drop=True), Missing.UNREACHABLE),
        (Reply(body=b"<html>"), Missing.NOT_AN_ANSWER),
    ],
)
def test_a_failure_that_stays_is_named(fault: Reply, reason: Missing) -> None:
    with stub() as server:
        server.faults = [fault] * 4
        assert ask(server) == [reason] * 5
        assert len(server.chats) == 4


def test_a_single_prompt_that_times_out_is_asked_about_again() -> None:
    with stub() as server:
        server.faults = [Reply(seconds=60)] * 2
        assert ask(server, PROMPTS[:1], seconds=1) == [YES]
        assert len(server.chats) == 3


def test_a_server_that_is_too_slow_for_many_prompts_is_asked_about_fewer_at_a_time() -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(seconds=60) if len(prompts) > 2 else None
        assert ask(server, seconds=1) == [YES] * 5
        assert [len(content["messages"]) for _, content in server.chats] == [5, 2, 3, 1, 2]


def test_a_server_that_never_answers_is_found_out_without_asking_it_about_every_prompt() -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(seconds=60)
        assert ask(server, seconds=0.5) == [Missing.TIMED_OUT] * 5
        assert len(server.chats) == 6  # of 5 and 2 prompts, and 4 tries of one


def test_a_server_that_is_down_is_named() -> None:
    with stub() as server:
        pass
    assert ask(server) == [Missing.UNREACHABLE] * 5


def test_one_prompt_over_the_context_does_not_cost_the_others() -> None:
    def too_long(prompts: list[str]) -> Reply | None:
        said = b'{"error": {"message": "This model\'s maximum context length is 4096 tokens"}}'
        return Reply(400, said) if PROMPTS[3] in prompts else None

    with stub() as server:
        server.always = too_long
        assert ask(server) == [YES, YES, YES, Missing.TOO_LONG, YES]


def test_a_request_that_the_server_refuses_is_not_tried_again() -> None:
    with stub() as server:
        server.always = lambda prompts: Reply(422, b"response_format is not supported")
        assert ask(server, PROMPTS[:1]) == [Missing.REFUSED]
        assert len(server.chats) == 1


@pytest.mark.parametrize(
    ("answered", "taken"), [("judge", True), ("judge-2026-08-06", True), ("judge-mini", False), ("x", False)]
)
def test_another_model_than_the_named_one_gives_no_verdict(answered: str, taken: bool) -> None:
    with stub() as server:
        server.always = lambda prompts: completed([YES] * len(prompts), answered)
        assert ask(server) == [YES if taken else Missing.OTHER_MODEL] * 5


def test_an_answer_without_text_is_missing_alone() -> None:
    with stub() as server:
        server.always = lambda prompts: completed([YES, None, "", YES, YES])
        assert ask(server) == [YES, Missing.NOT_AN_ANSWER, Missing.NOT_AN_ANSWER, YES, YES]


def test_the_key_is_sent_and_a_refused_one_is_for_the_user_to_fix() -> None:
    with stub(key="sesame") as server:
        assert ask(server, key="sesame") == [YES] * 5
        for wrong in (None, "other"):
            with pytest.raises(UserError, match=r"reward\.judge\.apiKey: the server refuses it \(status 401\)") as error:
                ask(server, key=wrong)
            assert CANARY not in str(error.value)


def test_redirects_are_not_followed() -> None:
    with stub() as server, stub() as other:
        server.always = lambda prompts: Reply(307, headers={"Location": f"{other.url}/chat/completions"})
        with pytest.raises(UserError, match="redirects to another address"):
            ask(server, PROMPTS[:1])
        assert other.requests == []


def check(server: Stub, model: str = MODEL) -> None:
    async def work() -> None:
        async with Client(server.url, model, key=None, timeout_seconds=60, schema=SCHEMA) as client:
            await client.check()

    asyncio.run(work())


def test_a_model_that_the_server_does_not_have_is_named_before_anything_is_asked() -> None:
    with stub() as server:
        check(server)
        with pytest.raises(UserError, match=r"reward\.judge\.name: the server has no model other: it serves judge"):
            check(server, "other")
        assert server.chats == []


def test_a_server_that_cannot_be_reached_is_worth_another_try() -> None:
    with stub() as server:
        pass
    with pytest.raises(JudgeError, match="does not answer") as error:
        check(server)
    assert error.value.exit_code == 75
