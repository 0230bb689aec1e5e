from __future__ import annotations

import math

import pytest
import yaml

from benchmarks import seeds


def test_seed_0_is_the_quickstart_but_for_the_seed_of_its_split_which_it_writes_out() -> None:
    own = yaml.safe_load(seeds.QUICKSTART.read_text())
    own["spec"] |= {"seed": 42}
    own["spec"]["model"]["tiny"] |= {"seed": 0}
    own["spec"]["data"] |= {"split": {"seed": 42}}
    assert seeds.quickstart(0) == own


def test_every_seed_of_the_quickstart_changes() -> None:
    spec = seeds.quickstart(3)["spec"]
    found = spec["seed"], spec["model"]["tiny"]["seed"], spec["data"]["synthetic"]["seed"], spec["data"]["split"]["seed"]
    assert found == (45, 3, 3, 45)


def test_the_mean_has_intervals_over_patients_and_over_seeds() -> None:
    found = seeds.mean([{"value": 0.1, "interval": [0.0, 0.2]}, {"value": 0.3, "interval": [0.2, 0.4]}])
    assert found.value == pytest.approx(0.2)
    assert found.over_patients == pytest.approx((0.2 - math.sqrt(0.02) / 2, 0.2 + math.sqrt(0.02) / 2))
    assert found.over_seeds == pytest.approx((0.2 - 12.706 * 0.1, 0.2 + 12.706 * 0.1))


def test_one_seed_has_no_interval_over_seeds() -> None:
    assert seeds.mean([{"value": 0.1, "interval": [0.0, 0.2]}]).over_seeds is None


def test_an_undefined_difference_is_an_error() -> None:
    with pytest.raises(ValueError, match="undefined"):
        seeds.mean([{"value": None, "interval": None}])
