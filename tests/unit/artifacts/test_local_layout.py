from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from deepicd import atomic
from deepicd.artifacts.layout import CheckpointRef, ModelRef
from deepicd.artifacts.local_layout import Complete, RunFolder, VerlFolder, mark_durable
from deepicd.run_layout import CheckpointFolders

Save = Callable[..., Path]


def found(source: VerlFolder | RunFolder) -> set[tuple[str, int | None]]:
    return {(item.stage, item.step) for item in source.complete()}


def write(path: Path, content: str = "x") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def test_a_folder_that_does_not_exist_yet_holds_nothing(tmp_path: Path) -> None:
    for source in (VerlFolder(tmp_path / "none"), RunFolder(tmp_path / "none")):
        assert source.complete() == []
        assert source.growing(1) == []


def test_a_checkpoint_is_complete_when_verls_tracker_says_so(save: Save, tmp_path: Path) -> None:
    save(tmp_path, 5)
    save(tmp_path, 10)
    save(tmp_path, 15, tracker=False)
    assert found(VerlFolder(tmp_path)) == {("grpo", 5), ("grpo", 10)}


def test_without_a_tracker_nothing_is_complete(save: Save, tmp_path: Path) -> None:
    save(tmp_path, 5, tracker=False)
    assert found(VerlFolder(tmp_path)) == set()
    write(tmp_path / "latest_checkpointed_iteration.txt", "")
    assert found(VerlFolder(tmp_path)) == set()


def test_other_names_are_no_checkpoints(save: Save, tmp_path: Path) -> None:
    save(tmp_path, 5)
    for name in ("global_step_", "global_step_x", "global_step_05", "global_step_5.tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "global_step_3").write_text("a file")
    assert found(VerlFolder(tmp_path)) == {("grpo", 5)}


def test_a_run_has_checkpoints_of_both_stages_and_models_of_finished_ones(save: Save, tmp_path: Path) -> None:
    stages = tmp_path / "stages"
    for stage in ("prepare", "sft", "grpo"):
        write(stages / stage / "model" / "config.json")
    save(stages / "sft" / "checkpoints", 100)
    save(stages / "grpo" / "checkpoints", 5)
    for stage in ("prepare", "sft"):
        write(stages / f"{stage}.completed.json")
    assert found(RunFolder(tmp_path)) == {("sft", 100), ("grpo", 5), ("base", None), ("sft", None)}


def test_results_logs_and_metrics_grow(tmp_path: Path) -> None:
    for name in (
        "evaluate/report.html",
        "evaluate/a/b.json",
        "stages/grpo/training.log",
        "stages/grpo/metrics/launch-0001.jsonl",
        "tensorboard/grpo/events.out",
    ):
        write(tmp_path / name)
    assert [item.key for item in RunFolder(tmp_path).growing(2)] == [
        "attempts/2/evaluation/a/b.json",
        "attempts/2/evaluation/report.html",
        "attempts/2/logs/grpo/metrics/launch-0001.jsonl",
        "attempts/2/logs/grpo/training.log",
        "attempts/2/logs/tensorboard/grpo/events.out",
    ]


def test_what_may_hold_note_text_is_never_taken(tmp_path: Path) -> None:
    for name in (
        "stages/prepare/cohort/test.parquet", "stages/prepare/tables/note/discharge.csv.gz", "stages/prepare/sft.parquet",
        "stages/prepare/model.log", "stages/grpo/rollouts/step-000001.parquet", "stages/evaluate/plan.json", "run.yaml",
        "evaluate/metrics.tmp", "evaluate/report.html.part", "evaluate/.hidden",
    ):  # fmt: skip
        write(tmp_path / name)
    assert RunFolder(tmp_path).growing(1) == []
    assert RunFolder(tmp_path).complete() == []
    for name in ("rollouts/1.jsonl", "1.jsonl", "cohort.parquet"):
        write(tmp_path / name)
    assert VerlFolder(tmp_path).growing(1) == []


def test_kept_completions_are_taken_if_the_store_is_for_them(tmp_path: Path) -> None:
    for name in ("step-000001.parquet", ".step-000002.parquet"):
        write(tmp_path / "stages/grpo/rollouts" / name)
    found = RunFolder(tmp_path, rollouts=True).growing(1)
    assert [item.key for item in found] == ["attempts/1/logs/grpo/rollouts/step-000001.parquet"]


def test_an_unfinished_file_is_never_taken(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / "evaluate" / "report.html") as file:
        file.write(b"<html>")
        assert RunFolder(tmp_path).growing(1) == []
    assert [item.key for item in RunFolder(tmp_path).growing(1)] == ["attempts/1/evaluation/report.html"]


def test_verls_folder_may_have_logs_and_metrics_beside_its_checkpoints(tmp_path: Path) -> None:
    for name in ("training.log", "metrics.jsonl", "metrics/launch-0001.jsonl"):
        write(tmp_path / name)
    keys = [item.key for item in VerlFolder(tmp_path).growing(1)]
    assert sorted(keys) == [
        "attempts/1/logs/metrics.jsonl",
        "attempts/1/logs/metrics/launch-0001.jsonl",
        "attempts/1/logs/training.log",
    ]


def test_the_marker_is_beside_the_folder_and_is_deleted_with_it(save: Save, tmp_path: Path) -> None:
    kept, gone = Complete(save(tmp_path, 5), "grpo", 5), Complete(tmp_path / "global_step_10", "grpo", 10)
    for item in (kept, gone):
        mark_durable(item, item.ref(1))
    assert (tmp_path / "global_step_5.durable").read_text() == "attempts/1/checkpoints/step-000005\n"
    CheckpointFolders(tmp_path).drop_marks()
    assert kept.marker.exists()
    assert not gone.marker.exists()


def test_the_reference_in_the_store(tmp_path: Path) -> None:
    assert Complete(tmp_path, "sft", 5).ref(2) == CheckpointRef(2, "sft", 5)
    assert Complete(tmp_path, "base", None).ref(2) == ModelRef(2, "base")


def test_of_distillation_only_counts_and_logs_are_uploaded(tmp_path: Path) -> None:
    place = tmp_path / "stages" / "distill"
    for name in ("traces.jsonl", "sft.parquet", "later.sqlite", "plan.json", "teacher.log", "distill.json", "training.log"):
        write(place / name)
    write(place / "metrics" / "launch-0001.jsonl")
    write(tmp_path / "teacher" / "answers.jsonl")
    write(tmp_path / "stages" / "grpo" / "difficulty" / "train.parquet")
    keys = {item.key.partition("/logs/")[2] for item in RunFolder(tmp_path).growing(1)}
    assert keys == {"distill/distill.json", "distill/training.log", "distill/metrics/launch-0001.jsonl"}
