from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from deepicd.artifacts.layout import CheckpointRef, ModelRef, manifest_key
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.restore import read_manifest, restore_checkpoint, restore_model
from deepicd.artifacts.store.base import DamagedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import FolderStore

Save = Callable[..., Path]
OLD, NEW = CheckpointRef(1, "grpo", 50), CheckpointRef(2, "grpo", 60)
MODEL_FILE = f"{NEW.folder}/actor/model.pt"


@pytest.fixture
def filled(store: FolderStore, origin: Origin, save: Save, tmp_path: Path) -> FolderStore:
    for ref in (OLD, NEW):
        publish(store, ref, save(tmp_path / "made", ref.step), origin)
    return store


def weights(folder: Path, step: int) -> str:
    return (folder / f"global_step_{step}" / "actor" / "model.pt").read_text()


def test_the_newest_comes_back_as_verl_left_it(filled: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "empty" / "checkpoints"
    assert restore_checkpoint(filled, "grpo", folder) == NEW
    assert weights(folder, 60) == "weights 60 "
    assert (folder / "global_step_60" / "data.pt").read_text() == "order 60"
    assert (folder / "latest_checkpointed_iteration.txt").read_text() == "60"
    assert (folder / "global_step_60.durable").read_text() == f"{NEW.folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == [
        "global_step_60", "global_step_60.durable", "latest_checkpointed_iteration.txt",
    ]  # fmt: skip


def test_nothing_comes_from_an_empty_store_or_of_another_stage(store: FolderStore, filled: FolderStore, tmp_path: Path) -> None:
    assert restore_checkpoint(FolderStore(tmp_path / "none"), "grpo", tmp_path / "x") is None
    assert restore_checkpoint(filled, "sft", tmp_path / "x") is None
    assert not (tmp_path / "x").exists()


def test_a_folder_that_has_a_checkpoint_is_left_alone(filled: FolderStore, save: Save, tmp_path: Path) -> None:
    save(tmp_path / "own", 10)
    assert restore_checkpoint(filled, "grpo", tmp_path / "own") is None
    assert not (tmp_path / "own" / "global_step_60").exists()


def alter(store: FolderStore, key: str, content: bytes | None) -> None:
    if content is None:
        store.delete([key])
    else:
        store.write(key, content)


@pytest.mark.parametrize(
    ("key", "content", "named"),
    [
        (MODEL_FILE, None, f"{MODEL_FILE}: is missing"),
        (MODEL_FILE, b"short", f"{MODEL_FILE}: 5 bytes instead of 11"),
        (MODEL_FILE, b"weightz 60 ", MODEL_FILE),
        (manifest_key(NEW), b"{}", f"{manifest_key(NEW)}: format: is null"),
    ],
)
def test_a_damaged_one_is_skipped_with_a_warning_that_names_it(
    filled: FolderStore, tmp_path: Path, key: str, content: bytes | None, named: str
) -> None:
    alter(filled, key, content)
    with capture_logs() as logs:
        assert restore_checkpoint(filled, "grpo", tmp_path / "c") == OLD
    assert [entry["log_level"] for entry in logs] == ["warning"]
    assert named in logs[0]["reason"]
    assert weights(tmp_path / "c", 50) == "weights 50 "
    assert not (tmp_path / "c" / "global_step_60").exists()
    assert (tmp_path / "c" / "latest_checkpointed_iteration.txt").read_text() == "50"


def test_a_checkpoint_without_a_manifest_does_not_exist(filled: FolderStore, tmp_path: Path) -> None:
    filled.delete([manifest_key(NEW)])
    with capture_logs() as logs:
        assert restore_checkpoint(filled, "grpo", tmp_path / "c") == OLD
    assert logs == []


def test_sizes_are_compared_before_anything_is_fetched(filled: FolderStore) -> None:
    assert read_manifest(filled, NEW).size == 19
    alter(filled, MODEL_FILE, b"short")
    with pytest.raises(DamagedError, match="5 bytes instead of"):
        read_manifest(filled, NEW)


class Cut(FolderStore):
    """A store whose download ends after the first file."""

    def download(self, files: Iterable[tuple[str, Path, Transferred]], on_bytes: OnBytes | None = None) -> None:
        for number, file in enumerate(files):
            if number:
                raise KeyboardInterrupt
            super().download([file], on_bytes)


def test_an_interrupted_download_leaves_no_checkpoint_and_resumes(filled: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    with pytest.raises(KeyboardInterrupt):
        restore_checkpoint(Cut(filled.root), "grpo", folder)
    assert not (folder / "global_step_60").exists()
    assert not (folder / "latest_checkpointed_iteration.txt").exists()
    assert len([path for path in folder.rglob("*") if path.is_file()]) == 1
    assert restore_checkpoint(filled, "grpo", folder) == NEW
    assert list(folder.glob(".fetching*")) == []


def test_an_incomplete_local_folder_gives_way(filled: FolderStore, save: Save, tmp_path: Path) -> None:
    save(tmp_path / "c", 60, "half", tracker=False)
    (tmp_path / "c" / "global_step_60" / "extra.pt").write_text("x")
    assert restore_checkpoint(filled, "grpo", tmp_path / "c") == NEW
    assert weights(tmp_path / "c", 60) == "weights 60 "
    assert not (tmp_path / "c" / "global_step_60" / "extra.pt").exists()


def test_models_of_finished_stages_come_back(filled: FolderStore, origin: Origin, tmp_path: Path) -> None:
    for attempt in (1, 2):
        (tmp_path / "m").mkdir(exist_ok=True)
        (tmp_path / "m" / "config.json").write_text(f"model of {attempt}")
        publish(filled, ModelRef(attempt, "sft"), tmp_path / "m", origin)
    assert restore_model(filled, "sft", tmp_path / "run" / "model") == ModelRef(2, "sft")
    assert (tmp_path / "run" / "model" / "config.json").read_text() == "model of 2"
    filled.write(f"{ModelRef(2, 'sft').folder}/config.json", b"model of 3")
    assert restore_model(filled, "sft", tmp_path / "run" / "model") == ModelRef(1, "sft")
    assert restore_model(filled, "grpo", tmp_path / "run" / "other") is None
