from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from deepicd.artifacts.claim import Writer, choose_attempt, claim, sole_writer
from deepicd.artifacts.layout import writer_key
from deepicd.artifacts.store.folder import FolderStore
from deepicd.errors import UserError

NOTHING: dict[str, str] = {}


def attempt_of(store: FolderStore, folder: Path, wanted: int | None = None, environment: dict[str, str] = NOTHING) -> int:
    with sole_writer(folder) as writer:
        return choose_attempt(store, folder, writer, wanted, environment)


def test_the_second_writer_of_an_attempt_is_refused(store: FolderStore) -> None:
    claim(store, 1, Writer("first", {}))
    before = store.read(writer_key(1))
    with pytest.raises(UserError, match=r"^attempt 1 is being written by another process \(host .+\): give this one another"):
        claim(store, 1, Writer("second", {}))
    assert store.read(writer_key(1)) == before


def test_a_writer_restarted_in_its_folder_continues(store: FolderStore, tmp_path: Path) -> None:
    assert attempt_of(store, tmp_path / "run", 4) == 4
    assert attempt_of(store, tmp_path / "run", 4) == 4
    assert attempt_of(store, tmp_path / "run") == 4


def test_another_folder_takes_the_next_free_attempt(store: FolderStore, tmp_path: Path) -> None:
    assert attempt_of(store, tmp_path / "a") == 1
    assert attempt_of(store, tmp_path / "b", 7) == 7
    assert attempt_of(store, tmp_path / "c") == 8


def test_the_environment_gives_the_attempt(store: FolderStore, tmp_path: Path) -> None:
    assert attempt_of(store, tmp_path / "a", environment={"DEEPICD_ATTEMPT": "3"}) == 3
    assert attempt_of(store, tmp_path / "a", 5, {"DEEPICD_ATTEMPT": "3"}) == 5
    with pytest.raises(UserError, match="DEEPICD_ATTEMPT: is 'three': give a number from 1"):
        attempt_of(store, tmp_path / "b", environment={"DEEPICD_ATTEMPT": "three"})


def test_a_folder_has_an_attempt_in_each_store(store: FolderStore, tmp_path: Path) -> None:
    other = FolderStore(tmp_path / "other")
    assert attempt_of(store, tmp_path / "run", 2) == 2
    assert attempt_of(other, tmp_path / "run") == 1
    assert attempt_of(store, tmp_path / "run") == 2


def test_a_folder_is_uploaded_by_one_process(tmp_path: Path) -> None:
    with sole_writer(tmp_path), pytest.raises(UserError, match="is being uploaded by another process"), sole_writer(tmp_path):
        pass
    with sole_writer(tmp_path):
        pass


def test_the_error_for_a_damaged_writer_file_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / ".deepicd-writer.json").write_text("{")
    with pytest.raises(UserError, match="is damaged: delete it"), sole_writer(tmp_path):
        pass


def race(folder: Path, store: Path, results: multiprocessing.Queue[int]) -> None:
    results.put(attempt_of(FolderStore(store), folder))


def test_processes_that_start_together_take_different_attempts(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[int] = context.Queue()
    processes = [context.Process(target=race, args=(tmp_path / str(n), tmp_path / "store", results)) for n in range(4)]
    for process in processes:
        process.start()
    assert sorted(results.get(timeout=60) for _ in processes) == [1, 2, 3, 4]
    for process in processes:
        process.join()
