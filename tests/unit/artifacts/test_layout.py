from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts.layout import (
    CheckpointRef,
    Committed,
    ModelRef,
    manifest_key,
    parse_attempt,
    parse_committed,
    parse_folder,
    writer_key,
)
from deepicd.run_layout import MODELS, TRAINING_STAGES

checkpoints = st.builds(CheckpointRef, st.integers(1, 10**4), st.sampled_from(TRAINING_STAGES), st.integers(1, 10**8))
models = st.builds(ModelRef, st.integers(1, 10**4), st.sampled_from(MODELS))
paths = st.text(min_size=1)


def test_the_documented_keys() -> None:
    assert CheckpointRef(1, "grpo", 50).folder == "attempts/1/checkpoints/step-000050"
    assert CheckpointRef(2, "sft", 1234567).folder == "attempts/2/sft-checkpoints/step-1234567"
    assert manifest_key(ModelRef(3, "base")) == "attempts/3/models/base/manifest.json"
    assert writer_key(1) == "attempts/1/writer.json"


@given(ref=st.one_of(checkpoints, models), path=paths)
def test_keys_are_read_back(ref: Committed, path: str) -> None:
    assert parse_committed(f"{ref.folder}/{path}") == (ref, path)
    assert parse_folder(ref.folder) == ref
    assert parse_attempt(ref.folder + "/") == ref.attempt


@given(st.text())
def test_what_is_read_is_written_the_same(key: str) -> None:
    found = parse_committed(key)
    assert found is None or f"{found[0].folder}/{found[1]}" == key


@pytest.mark.parametrize(
    "key",
    [
        "attempts/1/checkpoints/step-50/x", "attempts/01/checkpoints/step-000050/x", "attempts/1/checkpoints/step-0000050/x",
        "attempts/0/models/base/x", "attempts/1/models/grpo2/x", "attempts/1/checkpoints/step-000050", "latest.json",
        "x/attempts/1/models/base/x", "attempts/1/checkpoints/step-000050/",
    ],
)  # fmt: skip
def test_other_keys_belong_to_no_checkpoint(key: str) -> None:
    assert parse_committed(key) is None


def test_a_later_attempt_is_newer_whatever_its_stage_and_step() -> None:
    assert CheckpointRef(2, "sft", 1) > CheckpointRef(1, "grpo", 900)


def test_grpo_comes_after_sft() -> None:
    assert CheckpointRef(1, "grpo", 1) > CheckpointRef(1, "sft", 900)
    assert max(ModelRef(1, "sft"), ModelRef(1, "base"), ModelRef(1, "grpo")) == ModelRef(1, "grpo")


@given(st.lists(checkpoints, unique=True))
def test_checkpoints_have_one_order(refs: list[CheckpointRef]) -> None:
    ordered = sorted(refs)
    assert all(first < second and not second <= first for first, second in pairwise(ordered))
