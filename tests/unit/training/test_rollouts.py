from __future__ import annotations

from itertools import product
from random import Random

import pytest

from deepicd.training.rollouts import rollout_order, rollout_seed


def test_each_completion_has_its_own_seed() -> None:
    places = list(product((0, 42), (1, 2, 21), ("train", "validation"), (0, 1, 12), (0, 1, 7)))
    seeds = {
        rollout_seed(seed, step=step, split=split, index=index, rollout=rollout) for seed, step, split, index, rollout in places
    }
    assert len(seeds) == len(places)
    # Generators on CPUs take only the lower half.
    assert len({seed % 2**32 for seed in seeds}) == len(places)


def test_a_seed_is_the_same_in_each_process_and_fits_a_signed_number() -> None:
    seed = rollout_seed(42, step=3, split="train", index=17, rollout=5)
    assert seed == 215095733635461525
    assert 0 <= seed < 2**63


def test_completions_are_trained_on_by_prompt_and_rollout_however_they_ended() -> None:
    places = {"later": 1, "first": 0}
    ordered = [f"{prompt}_{rollout}_0" for prompt in ("first", "later") for rollout in range(12)]
    ended = Random(0).sample(ordered, len(ordered))
    assert ended != ordered
    assert [ended[position] for position in rollout_order(ended, places)] == ordered


def test_a_completion_of_no_known_prompt_is_an_error() -> None:
    with pytest.raises(KeyError):
        rollout_order(["other_0_0"], {"first": 0})
