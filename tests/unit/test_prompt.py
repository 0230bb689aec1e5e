"""The texts of a prompt, and where a model keeps them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd import prompt
from deepicd.errors import UserError
from deepicd.prompt import DEEPICD, Asked, Prompt
from deepicd.spec.prompt import PromptSpec
from deepicd.spec.run import RunSpec

OWN = Prompt("Read {this}: {note} <think> <diagnosis>", None)
RUN: dict[str, Any] = {"model": {"tiny": {}}, "data": {"synthetic": {}}, "stages": {}}


def test_the_preset_has_the_note_alone_in_the_users_turn() -> None:
    assert prompt.of(PromptSpec(preset="deepicd")) == DEEPICD
    assert DEEPICD.messages("a note") == [{"role": "system", "content": prompt.SYSTEM}, {"role": "user", "content": "a note"}]


def test_braces_other_than_the_notes_are_text_and_so_are_those_of_the_note() -> None:
    assert OWN.messages("{note} {0} {this}") == [
        {"role": "user", "content": "Read {this}: {note} {0} {this} <think> <diagnosis>"}
    ]


@given(st.text())
def test_the_note_is_read_back_out_of_its_messages(note: str) -> None:
    for asks in (DEEPICD, OWN):
        assert asks.note(asks.messages(note)) == note


def test_the_note_is_read_out_of_an_array_too_as_the_training_stack_hands_it_over() -> None:
    assert DEEPICD.note(np.array(DEEPICD.messages("a note"), dtype=object)) == "a note"


@pytest.mark.parametrize("messages", [[], DEEPICD.messages("a"), [{"role": "user", "content": "Read {this}: short"}]])
def test_messages_of_another_prompt_hold_no_note(messages: list[dict[str, str]]) -> None:
    with pytest.raises(ValueError, match="another prompt"):
        OWN.note(messages)


def test_a_run_asks_within_the_budgets_of_its_grpo() -> None:
    run = {**RUN, "stages": {"grpo": {"maxPromptTokens": 100, "maxResponseTokens": 50}}}
    assert prompt.asked(RunSpec.model_validate(run)) == Asked(DEEPICD, 100, 50)
    assert prompt.asked(RunSpec.model_validate(RUN)) == Asked(DEEPICD, 2048, 1024)


@pytest.mark.parametrize("asked", [Asked(), Asked(OWN, 100, 50), Asked(Prompt("ä {note} <think> <diagnosis>", "測"), 1, 2)])
def test_a_model_keeps_how_it_is_asked(asked: Asked, tmp_path: Path) -> None:
    assert prompt.stored(tmp_path) is None
    asked.store(tmp_path)
    assert prompt.stored(tmp_path) == asked


def test_storing_beside_a_link_leaves_what_it_points_to(tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("kept")
    (tmp_path / prompt.STORED).symlink_to(other)
    Asked().store(tmp_path)
    assert other.read_text() == "kept"
    assert prompt.stored(tmp_path) == Asked()


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", json.dumps({"prompt": {"user": "no place for it"}, "max_prompt_tokens": 1, "max_response_tokens": 1})],
)
def test_a_damaged_file_is_not_taken_for_a_missing_one(content: str, tmp_path: Path) -> None:
    (tmp_path / prompt.STORED).write_text(content)
    with pytest.raises(UserError, match=r"deepicd\.json: is not a stored prompt"):
        prompt.stored(tmp_path)
