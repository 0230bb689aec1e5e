"""Which GPUs CUDA shows, and whether they can train together."""

from __future__ import annotations

import pytest

from deepicd.errors import UserError
from deepicd.training.gpus import Gpu, check, gpus_of, visible
from tests.unit.training.nvml import Nvml

WHOLE = [Gpu(number, f"GPU-{letter}{letter}") for number, letter in enumerate("abcd")]
SPLIT = [Gpu(0, "MIG-aa", is_instance=True), Gpu(0, "MIG-bb", is_instance=True)]


@pytest.mark.parametrize(
    ("chosen", "shown"),
    [
        (None, ["0", "1", "2", "3"]),
        ("", []),
        ("-1", []),
        ("2,0", ["2", "0"]),
        (" 1 , 3 ", ["1", "3"]),
        ("0,7,1", ["0"]),
        ("0,0,1", []),
        ("GPU-a,GPU-aa", []),
        ("GPU-c", ["2"]),
        ("GPU-", []),
        ("2x,+1", ["2", "1"]),
        ("GPU-cc,GPU-aa", ["2", "0"]),
        ("GPU-x", []),
    ],
)
def test_visible_devices_are_chosen_as_cuda_does(chosen: str | None, shown: list[str]) -> None:
    assert [gpu.named for gpu in visible(chosen, WHOLE)] == shown


@pytest.mark.parametrize(
    ("chosen", "shown"), [(None, ["MIG-aa", "MIG-bb"]), ("MIG-bb", ["MIG-bb"]), ("0", ["MIG-aa"]), ("0,0", [])]
)
def test_instances_are_named_by_their_uuid(chosen: str | None, shown: list[str]) -> None:
    assert [gpu.named for gpu in visible(chosen, SPLIT)] == shown


@pytest.mark.parametrize(
    ("gpus", "chosen", "present", "message"),
    [
        (4, None, WHOLE[:2], "^spec.compute.gpus: 4 wanted, this machine has 2: lower it$"),
        (
            2,
            "1",
            WHOLE,
            "^spec.compute.gpus: 2 wanted, this machine has 4 and CUDA_VISIBLE_DEVICES=1 shows 1: change CUDA_VISIBLE_D",
        ),
        (5, "1", WHOLE, "^spec.compute.gpus: 5 wanted, this machine has 4 and CUDA_VISIBLE_DEVICES=1 shows 1: lower it$"),
        (1, "0,0", WHOLE, "^spec.compute.gpus: 1 wanted, this machine has 4 and CUDA_VISIBLE_DEVICES=0,0 shows 0: change"),
        (1, None, [], "^spec.compute.gpus: 1 wanted, this machine has none: use one with NVIDIA's GPUs and driver"),
        (2, None, SPLIT, "^spec.compute.gpus: 2 wanted, and GPUs here are split by MIG, whose instances cannot train together"),
    ],
)
def test_too_few_gpus_and_several_instances_are_refused(
    gpus: int, chosen: str | None, present: list[Gpu], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        check(gpus, chosen, present)


def test_enough_gpus_and_one_instance_are_accepted() -> None:
    check(4, None, WHOLE)
    check(2, "3,1", WHOLE)
    check(1, "MIG-bb", SPLIT)


def test_whole_gpus_and_parts_are_read_from_the_driver() -> None:
    assert gpus_of(Nvml([0, 0])) == [Gpu(0, "GPU-0"), Gpu(1, "GPU-1")]
    assert gpus_of(Nvml([0], parts=2)) == [Gpu(0, "MIG-GPU-0-0", is_instance=True), Gpu(0, "MIG-GPU-0-1", is_instance=True)]
