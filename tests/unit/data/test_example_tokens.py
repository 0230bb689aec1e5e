from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from deepicd import prompt
from deepicd.data.example_tokens import completion, read_completion, stop_tokens

ANSWER = prompt.answer(" The pain. ", "M5116")
REST = "The pain.</think>\n<diagnosis>M5116</diagnosis>"


def test_an_answer_opens_its_trace_with_a_line_break_so_that_no_token_reaches_across() -> None:
    assert f"<think>\n{REST}" == ANSWER


@pytest.mark.parametrize("opening", ["<think>", "<think>\n", "<think>\n\n"])
@pytest.mark.parametrize("answer", [ANSWER, f"<think>{REST}"])
def test_a_prompt_that_opens_the_trace_leaves_the_rest_of_the_answer_to_the_model(opening: str, answer: str) -> None:
    assert completion(f"a note<|im_end|>\nassistant\n{opening}", answer) == REST


def test_a_prompt_that_does_not_open_the_trace_leaves_the_whole_answer_to_the_model() -> None:
    assert completion("Use <think> </think>: a note assistant:", ANSWER) == ANSWER


class Letters:
    """A tokenizer whose tokens are letters, numbered from 0; `z` is special."""

    def decode(self, tokens: list[int], *, skip_special_tokens: bool) -> str:
        return "".join(chr(ord("a") + one) for one in tokens if not (skip_special_tokens and one == 25))


END, OTHER_END = 25, 24


@pytest.mark.parametrize(
    ("tokens", "read"),
    [
        ([0, 1, END], ("ab", False)),
        ([0, 1, 2, END], ("abc", False)),
        ([0, 1, 2, OTHER_END], ("abc", False)),
        ([0, 1, 2, 3], ("abcd", True)),
        ([0, 1, OTHER_END, 3], ("abyd", True)),
        ([0, 1], ("ab", False)),
        ([], ("", False)),
    ],
)
def test_a_completion_of_the_longest_length_is_whole_if_any_of_the_stop_tokens_ends_it(
    tokens: list[int], read: tuple[str, bool]
) -> None:
    assert read_completion(Letters(), tokens, {END, OTHER_END}, limit=4) == read


@pytest.mark.parametrize(
    ("files", "stops"),
    [
        ({"generation_config": [5, 7], "config": 9}, {5, 7}),
        ({"generation_config": 5, "config": [9]}, {5}),
        ({"config": [5, 9]}, {5, 9}),
        ({"config": 5}, {5}),
        ({"config": None}, set()),
        ({}, set()),
    ],
)
def test_generation_stops_at_the_tokens_of_the_models_settings(files: dict[str, Any], stops: set[int], tmp_path: Path) -> None:
    for name, found in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"eos_token_id": found}))
    assert stop_tokens(tmp_path) == stops
