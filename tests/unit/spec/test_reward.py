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
def test_the_terms_of_other_presets_have_fixed_weights(preset: str) -> None:
    term = next(iter(PRESETS[preset].weights))  # type: ignore[index]
    for weights in ({term: 1}, {"outcome": 1}):
        with pytest.raises(
            ValidationError, match=f"the preset '{preset}' has fixed weights: give weights only to your own terms"
        ):
            spec(preset=preset, weights=weights)


@pytest.mark.parametrize("preset", ["deepicd-r1", "strict"])
def test_the_default_weights_may_be_written_out_beside_any_preset(preset: str) -> None:
    assert spec(preset=preset, weights=dict(DEFAULT_WEIGHTS)) == spec(preset=preset)


@pytest.mark.parametrize("preset", PRESETS)
def test_terms_of_the_runs_own_weigh_1_by_default(preset: str) -> None:
    terms = {name: {"path": "package.module:function"} for name in ("brief", "kind")}
    weights = spec(preset=preset, terms=terms, weights={"kind": 0.5}).weights
    assert (weights["brief"], weights["kind"]) == (1, 0.5)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_reward_that_is_written_out_is_the_same(preset: str) -> None:
    first = spec(preset=preset, terms={"brief": {"path": "m:f"}}, weights={"brief": 2})
    assert spec(**first.model_dump()) == first


@pytest.mark.parametrize(
    ("terms", "says"),
    [
        ({"outcome": {"path": "m:f"}}, "'outcome' is taken: choose another name"),
        ({"score": {"path": "m:f"}}, "'score' is taken"),
        ({"Brief": {"path": "m:f"}}, "String should match pattern"),
        ({"brief": {"path": "m.f"}}, "String should match pattern"),
        ({"brief": {"path": "m:f()"}}, "String should match pattern"),
        ({"brief": {}}, "give exactly one of file, path"),
        ({"brief": {"file": "/t.py", "path": "m:f"}}, "give exactly one of file, path"),
        ({"brief": {"file": "/t.py"}}, "function: is missing: name the function in the file"),
        ({"brief": {"path": "m:f", "function": "g"}}, "function: goes with file: remove it"),
        ({"brief": {"file": "/t.py", "function": "a.b"}}, "String should match pattern"),
    ],
)
def test_a_mistake_in_the_terms_is_named(terms: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as error:
        spec(terms=terms)
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"outcom": 1}, "unknown term 'outcom': did you mean 'outcome'?"),
        ({"judge": 1}, "judge: there is no judge: give reward.judge, or remove the weight"),
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
