import pytest

from deepicd.rewards import Sample, make_scorer
from deepicd.spec.reward import RewardSpec

ANSWER = "<diagnosis>M51.16</diagnosis>"


def value(text: str, *, truncated: bool = False) -> float:
    [score] = make_scorer(RewardSpec(preset="strict"), opened_think=True)([Sample(text, "M5116", truncated=truncated)])
    return score.value


@pytest.mark.parametrize("answer", ["M5116", "M51.16", " m51.16 "])
def test_a_right_answer_in_form_earns_2(answer: str) -> None:
    assert value(f"x</think>\n<diagnosis>{answer}</diagnosis>") == 2


@pytest.mark.parametrize("answer", ["M51.17", "I10", "M51"])
def test_a_wrong_code_earns_nothing(answer: str) -> None:
    assert value(f"x</think><diagnosis>{answer}</diagnosis>") == 0


@pytest.mark.parametrize(
    "text", ["x</think><diagnosis>`M5116`</diagnosis>", f"x</think>{ANSWER}.", f"x</think>{ANSWER}{ANSWER}"]
)
def test_a_right_code_with_a_fault_of_form_earns_nothing(text: str) -> None:
    assert value(text) == 0


def test_a_right_code_at_the_token_limit_earns_nothing() -> None:
    assert value(f"x</think>{ANSWER}", truncated=True) == 0


@pytest.mark.parametrize("answer", ["", "back pain", "M51.16, M51.17", "M51.169", "Q99.ZZZ"])
def test_no_answer_costs_one_and_a_half(answer: str) -> None:
    assert value(f"x</think><diagnosis>{answer}</diagnosis>") == -1.5


@pytest.mark.parametrize("text", ["", "M51.16", "x</think>M51.16", "x</think><diagnosis>M51.16", ANSWER, f"</think>{ANSWER}"])
def test_a_missing_part_costs_2(text: str) -> None:
    assert value(text) == -2
