"""pass@k, the majority and agreement of several completions."""

from __future__ import annotations

from itertools import combinations

import pytest

from deepicd.evaluation.levels import Level
from deepicd.evaluation.metrics import compute
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.sampling import agreement, majority, pass_at, sizes


@pytest.mark.parametrize("drawn", [1, 2, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_one(drawn: int) -> None:
    for right in range(drawn + 1):
        answers = [place < right for place in range(drawn)]
        for k in range(1, drawn + 1):
            subsets = list(combinations(answers, k))
            assert pass_at(right, drawn, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("right", "drawn", "k"), [(0, 2, 3), (3, 2, 1), (0, 2, 0)])
def test_more_completions_than_were_drawn_are_refused(right: int, drawn: int, k: int) -> None:
    with pytest.raises(ValueError, match="pass@"):
        pass_at(right, drawn, k)


def test_pass_at_k_is_reported_for_powers_of_two_and_the_number_drawn() -> None:
    assert (sizes(1), sizes(4), sizes(6), sizes(0)) == ([1], [1, 2, 4], [1, 2, 4, 6], [])


def record(answer: str | None, *samples: str | None, number: int = 1, gold: str = "M5116") -> Prediction:
    return Prediction(str(number), str(number), gold, answer, samples=samples)


def test_the_majority_is_the_most_frequent_valid_code() -> None:
    assert majority(record("I10", "I10", "M5116", "M5116"), ()) == "M5116"
    assert majority(record("I10", "ZZZ", "ZZZ", "M5116"), ()) == "M5116"
    assert majority(record("I10", None, None), ()) is None


def test_of_equally_frequent_codes_the_greedy_answer_wins_then_the_first_drawn() -> None:
    assert majority(record("I10", "M5116", "I10"), ()) == "I10"
    assert majority(record(None, "M5116", "I10"), ()) == "M5116"


def test_agreement_is_the_share_of_samples_with_the_answers_class() -> None:
    samples = ["M5116", "M5117", None, "I10"]
    assert [agreement("M5116", samples, level) for level in Level] == [0.5, 0.5, 0.25]
    assert agreement(None, samples, Level.CODE) is None
    assert agreement("M5116", [], Level.CODE) is None


SAMPLED = [record("M5116", "M5116", "M5117"), record("I10", "M5117", "M5117", number=2)]


def test_the_metrics_have_pass_at_k_agreement_and_majority_by_level() -> None:
    found = compute(SAMPLED, bootstrap_samples=0)["sampling"]
    code, category = found["levels"]["code"], found["levels"]["category"]
    assert found["samples"] == 2
    assert {k: measure["value"] for k, measure in code["passAt"].items()} == {"1": 0.25, "2": 0.5}
    assert {k: measure["value"] for k, measure in category["passAt"].items()} == {"1": 1.0, "2": 1.0}
    assert code["agreement"]["value"] == 0.25
    assert category["majority"]["accuracy"]["value"] == 1.0
    # Greedy: F1 of the category is 2 / 3; of the majority 1.
    assert category["majority"]["gain"]["value"] == pytest.approx(1 / 3)


def test_the_gain_of_the_majority_has_a_paired_interval() -> None:
    same = [record("M5116", "M5116", "M5116", number=number) for number in range(30)]
    gain = compute(same, bootstrap_samples=50)["sampling"]["levels"]["code"]["majority"]["gain"]
    assert (gain["value"], gain["interval"]) == (0, [0, 0])


def test_without_samples_the_numbers_are_absent_with_the_reason() -> None:
    found = compute([*SAMPLED, Prediction("3", "3", "I10", "I10")], bootstrap_samples=0)
    assert "sampling" not in found
    assert "no completions were sampled" in found["absent"]["sampling"]
