from __future__ import annotations

from typing import Any

import pytest

from deepicd import Sample, UserError, score
from deepicd.rewards import make_scorer
from deepicd.spec.reward import PRESETS, PresetName, RewardSpec

SAMPLES = [
    Sample("Weak toe extension.</think> <diagnosis>M5116</diagnosis>", "M51.16", "Weak toe extension on the left."),
    Sample("Weak toe extension.</think> <diagnosis>I10</diagnosis>", "m5116"),
]


@pytest.mark.parametrize("preset", PRESETS)
def test_scores_are_those_of_the_reward(preset: PresetName) -> None:
    assert score(iter(SAMPLES), preset=preset) == make_scorer(RewardSpec(preset=preset), opened_think=True)(SAMPLES)


def test_weights_that_are_left_out_are_the_presets_own() -> None:
    found = score(SAMPLES, weights={"reasoning": 0})[0]
    assert found.value == pytest.approx(sum(PRESETS["deepicd"].weights.values()) - PRESETS["deepicd"].weights["reasoning"])


def test_a_completion_without_an_opened_think_has_no_trace() -> None:
    [opened], [closed] = score(SAMPLES[:1]), score(SAMPLES[:1], opened_think=False)
    assert closed.terms["format"] < opened.terms["format"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gold": "M51"}, r"samples\[1\]: gold: is a header"),
        ({"gold": "X9999"}, r"samples\[1\]: gold: is not a code"),
        ({"gold": float("nan")}, r"samples\[1\]: gold: is a float: give a str"),
        ({"completion": None}, r"samples\[1\]: completion: is a NoneType: give a str"),
        ({"note": float("nan")}, r"samples\[1\]: note: is a float: give a str, or None"),
    ],
)
def test_an_invalid_sample_is_named_by_its_place(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        score([SAMPLES[0], Sample(**{"completion": "x", "gold": "I10", **fields})])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {"outcom": 1}}, "weights: unknown term 'outcom': did you mean 'outcome'"),
        ({"preset": "strickt"}, "preset: must be .*did you mean 'strict'"),
    ],
)
def test_a_reward_that_does_not_exist_is_named_with_the_nearest(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        score(SAMPLES, **options)


def test_what_is_no_sample_is_named() -> None:
    with pytest.raises(UserError, match=r"samples\[0\]: is a str: give a deepicd.Sample"):
        score(["x"])  # type: ignore[list-item]
