from __future__ import annotations

from pathlib import Path

from deepicd.run_layout import CheckpointFolders, RunLayout, durable_mark


def paths(layout: object) -> set[Path]:
    return {path for path in vars(layout).values() if isinstance(path, Path)}


def test_every_path_of_a_run_is_inside_its_folder(tmp_path: Path) -> None:
    layout = RunLayout(tmp_path)
    for found in (layout, layout.evaluation, layout.stage("sft")):
        assert all(path.is_relative_to(tmp_path) for path in paths(found))


def test_markers_of_a_stage_outlive_its_folder(tmp_path: Path) -> None:
    stage = RunLayout(tmp_path).stage("sft")
    assert {stage.inputs.name, stage.completed.name} == {"sft.inputs.json", "sft.completed.json"}
    assert stage.inputs.parent == stage.completed.parent == stage.folder.parent


def test_only_folders_that_verl_names_are_checkpoints(tmp_path: Path) -> None:
    folders = CheckpointFolders(tmp_path)
    for name in ("global_step_10", "global_step_9", "global_step_0", "global_step_05", "global_step_x", "global_step_²"):
        (tmp_path / name).mkdir()
    (tmp_path / "global_step_7").touch()
    assert folders.steps() == [9, 10]


def test_a_tracker_that_is_missing_or_no_number_names_no_checkpoint(tmp_path: Path) -> None:
    folders = CheckpointFolders(tmp_path)
    assert folders.last_step == 0
    folders.tracker.write_text("")
    assert folders.last_step == 0
    folders.set_last_step(10)
    assert (folders.last_step, folders.last) == (10, tmp_path / "global_step_10")


def test_the_mark_of_a_checkpoint_goes_when_it_has_gone(tmp_path: Path) -> None:
    folders = CheckpointFolders(tmp_path)
    folders.of(5).mkdir()
    for step in (5, 10):
        durable_mark(folders.of(step)).touch()
    folders.drop_marks()
    assert [durable_mark(folders.of(step)).exists() for step in (5, 10)] == [True, False]
