"""Which GPUs each engine of an evaluation has."""

from __future__ import annotations

import pytest

from deepicd.training.cpu.device import Cpus
from deepicd.training.device import Device


@pytest.mark.parametrize(
    ("gpus", "each", "shares"),
    [(1, 1, ["0"]), (4, 1, ["0", "1", "2", "3"]), (4, 2, ["0,1", "2,3"]), (3, 2, ["0,1"])],
)
def test_each_engine_has_its_own_gpus(gpus: int, each: int, shares: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [own["CUDA_VISIBLE_DEVICES"] for own in Device().engines(gpus, each, {})] == shares


def test_gpus_that_were_chosen_are_kept_and_the_judges_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5,7")
    beside_a_judge, _ = Device().split(2, 1)
    for variables in ({}, beside_a_judge):
        assert [own["CUDA_VISIBLE_DEVICES"] for own in Device().engines(2, 1, variables)] == ["2", "5"]


def test_one_engine_uses_all_cores() -> None:
    assert Cpus().engines(4, 1, {}) == [{}]
