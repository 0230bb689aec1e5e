import math
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from deepicd.spec.reward import DEFAULT_WEIGHTS, PRESETS, PresetName, RewardSpec


def spec(**fields: Any) -> RewardSpec:
    return RewardSpec.model_validate(fields)


def test_every_preset_can_be_named() -> None:
    assert set(get_args(PresetName)) == set(PRESETS)


def test_weights_that_are_left_out_have_their_defaults() -> None:
    assert spec(weights={"outcome": 7}).weights == {"outcome": 7, "format": 0.1, "hierarchy": 0.3, "reasoning": 0.1}
    assert spec().weights == DEFAULT_WEIGHTS


@pytest.mark.parametrize("preset", ["deepicd-r1", "strict"])
def test_other_presets_have_weights_of_their_own(preset: str) -> None:
    with pytest.raises(ValidationError, match=f"the preset '{preset}' has fixed weights: remove them"):
        spec(preset=preset, weights={"outcome": 1})


@pytest.mark.parametrize("preset", ["deepicd-r1", "strict"])
def test_the_default_weights_may_be_written_out_beside_any_preset(preset: str) -> None:
    assert spec(preset=preset, weights=dict(DEFAULT_WEIGHTS)) == spec(preset=preset)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"outcom": 1}, "unknown term 'outcom': did you mean 'outcome'?"),
        ({"judge": 1}, "unknown term 'judge': the terms are outcome, format, hierarchy, reasoning"),
        (dict.fromkeys(DEFAULT_WEIGHTS, 0), "all are 0, so every completion scores the same"),
        ({"outcome": -1}, "greater than or equal to 0"),
        ({"outcome": float("inf")}, "finite"),
        ({"outcome": "much"}, "valid number"),
    ],
)
def test_a_mistake_in_the_weights_is_named(weights: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        spec(weights=weights)
    assert says in str(error.value)


def test_the_range_is_that_of_the_weights() -> None:
    low, high = PRESETS["deepicd"].range
    assert (low, high) == (0, math.fsum(DEFAULT_WEIGHTS.values()))
