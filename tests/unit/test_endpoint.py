"""What judge and teacher share; test_client.py and test_teacher.py have the rest."""

from __future__ import annotations

import pytest

from deepicd.endpoint import Endpoint, Missing, content_of
from deepicd.errors import TeacherError


@pytest.mark.parametrize(
    ("answered", "named"),
    [
        ("gpt-4o", True),
        ("gpt-4o-2024-08-06", True),
        ("gpt-4o-mini", False),
        ("other", False),
        (None, True),
    ],
)
def test_a_release_of_the_named_model_is_the_named_model(answered: str | None, named: bool) -> None:
    endpoint = Endpoint("http://127.0.0.1", "gpt-4o", key=None, timeout_seconds=1, field="x", unreachable=TeacherError)
    assert endpoint.is_named({"model": answered}) is named


@pytest.mark.parametrize(
    "choice", [None, {}, {"message": None}, {"message": {"content": None}}, {"message": {"content": ""}}, 3]
)
def test_an_answer_without_text_has_none(choice: object) -> None:
    assert content_of(choice) is None
    assert content_of({"message": {"content": "x"}}) == "x"


def test_reasons_are_words_for_messages() -> None:
    assert [str(reason) for reason in (Missing.BUSY, Missing.TOO_LONG)] == ["busy", "too_long"]
