from __future__ import annotations

import pytest

from deepicd import prompt
from deepicd.data.example_tokens import completion

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
