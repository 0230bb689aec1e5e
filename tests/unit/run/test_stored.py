from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.artifacts.layout import CheckpointRef, ModelRef
from deepicd.artifacts.publish import Origin, publish
from deepicd.artifacts.store.folder import FolderStore
from deepicd.run.stored import restore_stage

ORIGIN = Origin("quickstart", "digest", {"verl": "0.9.1"})
CHECKPOINT = CheckpointRef(2, "grpo", 60)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    """A store with a checkpoint of GRPO."""
    store, made = FolderStore(tmp_path / "store"), tmp_path / "made"
    (made / "actor").mkdir(parents=True)
    (made / "actor" / "model.pt").write_text("weights")
    publish(store, CHECKPOINT, made, ORIGIN)
    return store


def restore(store: FolderStore, stage: str, folder: Path) -> tuple[bool, list[str]]:
    """Whether the stage is finished, and the reported addresses."""
    reported: list[str] = []
    return restore_stage(store, stage, folder, reported.append), reported


def test_a_stage_resumes_from_its_checkpoint_and_reports_its_address(store: FolderStore, tmp_path: Path) -> None:
    assert restore(store, "grpo", tmp_path / "grpo") == (False, [f"{store.url}/{CHECKPOINT.folder}"])
    assert (tmp_path / "grpo" / "checkpoints" / "global_step_60" / "actor" / "model.pt").read_text() == "weights"


def test_a_stage_with_nothing_in_the_store_begins(store: FolderStore, tmp_path: Path) -> None:
    assert restore(store, "sft", tmp_path / "sft") == (False, [])


def test_a_finished_stage_resumes_from_no_checkpoint(store: FolderStore, tmp_path: Path) -> None:
    publish(store, ModelRef(2, "grpo"), tmp_path / "made", ORIGIN)
    assert restore(store, "grpo", tmp_path / "grpo") == (True, [])


def test_a_stage_that_has_a_checkpoint_is_left_alone(store: FolderStore, tmp_path: Path) -> None:
    restore(store, "grpo", tmp_path / "grpo")
    assert restore(store, "grpo", tmp_path / "grpo") == (False, [])
