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


def test_a_colocated_server_on_gpus_takes_its_share_and_gives_it_back_and_one_on_cpus_takes_none() -> None:
    assert Device().colocated_arguments(0.5, sleeps=True) == ["--gpu-memory-utilization", "0.5", "--enable-sleep-mode"]
    assert Device().colocated_arguments(0.45, sleeps=False) == ["--gpu-memory-utilization", "0.45"]
    assert Cpus().colocated_arguments(0.5, sleeps=True) == []


def test_a_model_that_answers_beside_a_judge_leaves_room_for_it() -> None:
    assert Device().generator("bfloat16", 1)["gpu_memory_utilization"] == 0.9
    assert Device().generator("bfloat16", 1, 0.45)["gpu_memory_utilization"] == 0.45
