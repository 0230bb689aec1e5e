from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd.errors import UserError
from deepicd.training.kept_rollouts import KeptRollout, keep, read, steps

ONE = KeptRollout(
    step=3, id="20000001", rollout=0, prompt="<|user|>A note", completion="So</think>\n<diagnosis>M5116</diagnosis>",
    gold="M5116", tokens=12, reward=0.5, terms={"outcome": 1.0, "well_formed": 1.0},
)  # fmt: skip


def test_a_steps_completions_are_read_as_they_were_kept(tmp_path: Path) -> None:
    kept = [ONE, replace(ONE, rollout=1, reward=0.0)]
    keep(tmp_path / "rollouts", kept)
    keep(tmp_path / "rollouts", [replace(ONE, step=1200000)])
    assert steps(tmp_path / "rollouts") == [3, 1200000]
    assert list(read(tmp_path / "rollouts", 3)) == kept


def test_a_step_that_is_made_again_replaces_its_completions(tmp_path: Path) -> None:
    keep(tmp_path, [ONE, replace(ONE, rollout=1)])
    keep(tmp_path, [replace(ONE, reward=0.25)])
    assert list(read(tmp_path, 3)) == [replace(ONE, reward=0.25)]
    assert [path.name for path in tmp_path.iterdir()] == ["step-000003.parquet"]


def test_there_are_no_steps_without_a_folder(tmp_path: Path) -> None:
    assert steps(tmp_path / "none") == []


@pytest.mark.parametrize("size", [0, 4, 700])
def test_a_damaged_file_is_named(size: int, tmp_path: Path) -> None:
    keep(tmp_path, [ONE])
    path = tmp_path / "step-000003.parquet"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(UserError, match=r"step-000003\.parquet: is damaged: fetch it again"):
        list(read(tmp_path, 3))


def test_a_file_of_another_form_is_named_and_one_with_more_columns_is_read(tmp_path: Path) -> None:
    more = pa.Table.from_pylist([{**asdict(ONE), "later": 1}])
    pq.write_table(more, tmp_path / "step-000003.parquet")
    assert list(read(tmp_path, 3)) == [ONE]
    pq.write_table(more.drop_columns(["reward"]), tmp_path / "step-000003.parquet")
    with pytest.raises(UserError, match="is damaged"):
        list(read(tmp_path, 3))
