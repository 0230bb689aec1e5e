from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.run_layout import CheckpointFolders
from deepicd.spec import environment
from deepicd.spec.compute import ScratchSpec
from deepicd.training.checkpoints import LocalCheckpoints
from deepicd.training.disk_room import check_room, room_for

GB = 10**9
CHECKPOINT = 12 * GB


def checkpoints(folder: Path, *, stored: bool = False) -> LocalCheckpoints:
    return LocalCheckpoints(CheckpointFolders(folder), keep=2, stored=stored)


@pytest.mark.parametrize(("stored", "need"), [(False, 3 * 12 + 2), (True, 2 * 12 + 2)])
def test_a_stage_needs_room_for_its_checkpoints_the_next_one_and_the_model(stored: bool, need: int, tmp_path: Path) -> None:
    check_room(checkpoints(tmp_path, stored=stored), CHECKPOINT, 2 * GB, need * GB)
    with pytest.raises(UserError, match=rf"{need - 1}\.0 GB are free, and the stage writes {need}\.0 GB, with .* of 12\.0 GB"):
        check_room(checkpoints(tmp_path, stored=stored), CHECKPOINT, 2 * GB, (need - 1) * GB)


def test_the_message_names_the_folder_and_what_to_change(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"^{tmp_path}: .* lower keepCheckpoints; .* raise compute\.scratch\.size$"):
        check_room(checkpoints(tmp_path), CHECKPOINT, GB, 0)


def test_checkpoints_that_are_there_need_no_more_room(tmp_path: Path) -> None:
    (tmp_path / "global_step_5").mkdir()
    (tmp_path / "global_step_5" / "weights.pt").write_bytes(bytes(8192))
    check_room(checkpoints(tmp_path), 4800, 800, 36 * 400 + 800 - 8192)
    with pytest.raises(UserError):
        check_room(checkpoints(tmp_path), 4800, 800, 36 * 400 + 800 - 8193)


def test_outside_a_pod_the_disk_alone_limits(tmp_path: Path) -> None:
    free = room_for(tmp_path, ScratchSpec(size=1), {})
    assert free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)


@pytest.mark.parametrize(("storage_class", "limited"), [(None, True), ("disks", False)])
def test_in_a_pod_the_limit_of_its_own_volume_counts(
    storage_class: str | None, limited: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / "weights").write_bytes(bytes(4096))
    os.link(run / "weights", run / "the same weights")
    monkeypatch.setattr(environment, "RUN_FOLDER", str(run))
    room = room_for(run, ScratchSpec(size=16384, storage_class=storage_class), {environment.RUN_UID: "1"})
    assert (room == 16384 - 4096) == limited


def test_a_file_that_vanishes_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "walk", lambda folder: [(str(tmp_path), [], ["gone"])])
    with pytest.raises(UserError):
        check_room(checkpoints(tmp_path), 1, 1, 0)
