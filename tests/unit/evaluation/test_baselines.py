"""Baselines, trained on a few words that decide the code."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from deepicd.errors import UserError
from deepicd.evaluation.baselines import BASELINES, Answered, Notes, Splits, by_level, macro_f1, majority
from deepicd.evaluation.levels import Level

WORDS = {
    "M5116": "radiating leg pain",
    "M4806": "walking leg numbness",
    "I10": "high blood pressure",
    "J189": "cough and fever",
}


def notes(number: int, seed: int) -> Notes:
    chance = random.Random(seed)
    codes = [chance.choice(list(WORDS)) for _ in range(number)]
    filler = ["denies", "reports", "since", "morning", "evening", "mild", "severe"]
    return Notes([f"{WORDS[code]} {' '.join(chance.choices(filler, k=6))}" for code in codes], codes)


TEST = notes(40, seed=3)
SPLITS = Splits(notes(160, seed=1), notes(40, seed=2), TEST.texts)


@pytest.mark.parametrize("name", ["tfidf", "neighbours"])
def test_a_baseline_learns_which_words_decide(name: str) -> None:
    found = BASELINES[name](SPLITS)
    assert found.codes == TEST.codes
    assert found.settings["validationMacroF1"] == 1


@pytest.mark.parametrize("name", list(BASELINES))
def test_a_baseline_states_its_probability_at_each_level(name: str) -> None:
    found = BASELINES[name](SPLITS)
    assert len(found.confidence) == len(found.codes) == 40
    for levels in found.confidence:
        assert 0 <= levels["code"] <= levels["category"] + 1e-9 <= levels["chapter"] + 2e-9 <= 1 + 3e-9


@pytest.mark.parametrize("name", list(BASELINES))
def test_the_same_splits_give_the_same_answers(name: str) -> None:
    assert BASELINES[name](SPLITS) == BASELINES[name](SPLITS)


@pytest.mark.parametrize("name", list(BASELINES))
def test_few_notes_of_one_code_are_enough(name: str) -> None:
    few = Notes(["cough", "fever and cough", "a cough"], ["J189"] * 3)
    assert BASELINES[name](Splits(few, few, ["cough"])).codes == ["J189"]


def test_the_majority_is_the_most_frequent_code_with_its_share() -> None:
    train = Notes([""] * 5, ["M5116", "I10", "I10", "M5116", "J189"])
    found = majority(Splits(train, train, ["", ""]))
    assert found == Answered(["I10"] * 2, [{"chapter": 0.4, "category": 0.4, "code": 0.4}] * 2, {})


def test_settings_are_chosen_on_validation_not_on_the_train_split() -> None:
    # Among near copies, one neighbour is best; where neighbours are noisy, many are.
    chance = random.Random(0)
    noisy = notes(300, seed=5)
    wrong = [code if chance.random() < 0.7 else chance.choice(list(WORDS)) for code in noisy.codes]
    found = BASELINES["neighbours"](replace(SPLITS, train=Notes(noisy.texts, wrong)))
    assert found.settings["neighbours"] > 1
    assert found.settings["validationMacroF1"] == 1


def test_probabilities_of_codes_add_up_to_those_of_their_classes() -> None:
    shares = np.array([[0.5, 0.2, 0.3]])
    [found] = by_level(["M5116", "M5117", "M4806"], shares, ["M5116"])
    assert found == pytest.approx({"chapter": 1.0, "category": 0.7, "code": 0.5})
    assert list(found) == [level.value for level in Level]


def test_the_tuning_score_is_scikit_learns_macro_f1_over_the_gold_categories() -> None:
    gold, answers = ["M5116", "I10", "J189", "J189"], ["M5117", "J189", "J189", "D65"]
    wanted = f1_score(
        [code[:3] for code in gold], [code[:3] for code in answers], labels=["M51", "I10", "J18"], average="macro"
    )
    assert macro_f1(gold, answers) == pytest.approx(wanted)


CHINESE = {"M5116": "腰痛伴下肢放射痛", "M4806": "行走后下肢麻木", "I10": "血压升高头晕", "J189": "咳嗽发热三天"}


@pytest.mark.parametrize("name", ["tfidf", "neighbours"])
def test_scripts_without_spaces_are_read_too(name: str) -> None:
    def chinese(like: Notes, seed: int) -> Notes:
        chance = random.Random(seed)
        return Notes([f"患者{chance.randint(20, 90)}岁，{CHINESE[code]}。" for code in like.codes], like.codes)

    test = chinese(TEST, 3)
    found = BASELINES[name](Splits(chinese(SPLITS.train, 1), chinese(SPLITS.validation, 2), test.texts))
    assert found.codes == test.codes


@pytest.mark.parametrize("name", ["tfidf", "neighbours"])
def test_notes_without_a_word_are_for_the_user_to_fix(name: str) -> None:
    empty = Notes(["-", ". . .", "a"], ["J189", "I10", "I10"])
    with pytest.raises(UserError, match="share no words"):
        BASELINES[name](Splits(empty, empty, ["-"]))
