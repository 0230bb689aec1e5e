from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.run_layout import CheckpointFolders
from deepicd.training.checkpoints import LocalCheckpoints

SIZE = 1000


def fill(folder: Path, steps: list[int], durable: list[int], last: int | None = None) -> None:
    for step in steps:
        (folder / f"global_step_{step}" / "actor").mkdir(parents=True)
        (folder / f"global_step_{step}" / "actor" / "weights.pt").write_bytes(bytes(SIZE))
    for step in durable:
        (folder / f"global_step_{step}.durable").touch()
    CheckpointFolders(folder).tracker.write_text(str(max(steps) if last is None else last))


def steps_in(folder: Path) -> list[int]:
    return sorted(int(path.name.removeprefix("global_step_")) for path in folder.iterdir() if path.is_dir())


class Disk:
    """A disk of limited size, with only the checkpoints on it."""

    def __init__(self, size: int) -> None:
        self.size = size

    def free(self, folder: Path) -> int:
        return self.size - sum(path.stat().st_size for path in folder.rglob("*.pt"))


def test_only_the_newest_stay(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10, 100], [])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=2, stored=False).drop_old()
    assert steps_in(tmp_path) == [10, 100]


def test_with_a_store_one_that_is_not_durable_stays(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10, 15, 20], durable=[10])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=1, stored=True).drop_old()
    assert steps_in(tmp_path) == [5, 15, 20]


@pytest.mark.parametrize(("stored", "left"), [(False, []), (True, [15])])
def test_of_a_stage_that_is_done_only_what_is_not_yet_durable_stays(stored: bool, left: list[int], tmp_path: Path) -> None:
    fill(tmp_path, [5, 10, 15], durable=[5, 10])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=2, stored=stored).drop_all()
    assert steps_in(tmp_path) == left


def test_a_stage_that_wrote_no_checkpoint_has_none_to_delete(tmp_path: Path) -> None:
    LocalCheckpoints(CheckpointFolders(tmp_path / "missing"), keep=2, stored=False).drop_all()


def test_folders_newer_than_the_tracker_are_incomplete(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10], [], last=5)
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=2, stored=False).drop_incomplete()
    assert steps_in(tmp_path) == [5]


def test_the_oldest_durable_one_makes_room(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10, 15], durable=[5, 10, 15])
    waits: list[bool] = []
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=3, stored=True).make_room(waits.append, free=Disk(3 * SIZE + 500).free)
    assert steps_in(tmp_path) == [10, 15]
    assert waits == []


def test_nothing_is_deleted_where_there_is_room(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10, 15], durable=[5, 10, 15])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=3, stored=True).make_room(lambda _: None, free=Disk(5 * SIZE).free)
    assert steps_in(tmp_path) == [5, 10, 15]


def test_training_waits_until_one_is_durable(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10], durable=[])
    waits: list[bool] = []
    naps = 0

    def sleep(seconds: float) -> None:
        nonlocal naps
        naps += 1
        if naps == 3:
            (tmp_path / "global_step_5.durable").touch()

    LocalCheckpoints(CheckpointFolders(tmp_path), keep=2, stored=True).make_room(
        waits.append, free=Disk(2 * SIZE + 10).free, sleep=sleep
    )
    assert waits == [True, False]
    assert naps == 3
    assert steps_in(tmp_path) == [10]


def test_the_newest_complete_one_is_never_deleted(tmp_path: Path) -> None:
    fill(tmp_path, [5], durable=[5])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=1, stored=True).make_room(
        lambda _: pytest.fail("waited"), free=lambda _: 0
    )
    assert steps_in(tmp_path) == [5]


def test_without_a_store_training_does_not_wait(tmp_path: Path) -> None:
    fill(tmp_path, [5, 10], [])
    LocalCheckpoints(CheckpointFolders(tmp_path), keep=2, stored=False).make_room(
        lambda _: pytest.fail("waited"), free=lambda _: 0
    )
    assert steps_in(tmp_path) == [5, 10]


@given(keep=st.integers(1, 5), stored=st.booleans())
def test_the_training_process_gets_its_settings_from_the_environment(keep: int, stored: bool) -> None:
    checkpoints = LocalCheckpoints(CheckpointFolders(Path("x")), keep, stored)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in checkpoints.environment().items():
            patch.setenv(name, value)
        assert LocalCheckpoints.from_environment(CheckpointFolders(Path("x"))) == checkpoints
