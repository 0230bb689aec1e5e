from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.artifacts import latest
from deepicd.artifacts.latest import Latest
from deepicd.artifacts.layout import LATEST, CheckpointRef
from deepicd.artifacts.store.base import ConflictError, DamagedError
from deepicd.artifacts.store.folder import FolderStore

OLD, NEW = Latest(CheckpointRef(1, "grpo", 50), "a"), Latest(CheckpointRef(2, "grpo", 10), "b")


def test_an_empty_store_has_no_latest(store: FolderStore) -> None:
    assert latest.read(store) is None


def test_it_names_the_newest(store: FolderStore) -> None:
    latest.advance(store, OLD)
    latest.advance(store, NEW)
    assert latest.read(store) == NEW


def test_an_old_attempt_that_wakes_up_does_not_move_it_back(store: FolderStore) -> None:
    latest.advance(store, NEW)
    latest.advance(store, OLD)
    assert latest.read(store) == NEW


def test_a_refused_write_looks_again_at_what_is_there(store: FolderStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write = store.write
    newer = Latest(CheckpointRef(1, "grpo", 60), "c")
    latest.advance(store, OLD)

    def overtaken(key: str, content: bytes, *, if_absent: bool = False, if_version: str | None = None) -> str:
        monkeypatch.setattr(store, "write", write)
        write(LATEST, NEW.to_json())
        raise ConflictError(key)

    monkeypatch.setattr(store, "write", overtaken)
    latest.advance(store, newer)
    assert latest.read(store) == NEW


def test_the_newest_of_many_concurrent_writes_stays(store: FolderStore) -> None:
    all_of_them = [Latest(CheckpointRef(attempt, "grpo", step), "x") for attempt in (1, 2) for step in range(1, 9)]
    threads = [threading.Thread(target=latest.advance, args=(store, each)) for each in all_of_them]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert latest.read(store) == all_of_them[-1]


def test_a_damaged_one_is_replaced(store: FolderStore) -> None:
    store.write(LATEST, b"{")
    latest.advance(store, OLD)
    assert latest.read(store) == OLD


@given(st.binary() | st.sampled_from([b"[]", b'{"checkpoint": 1}', OLD.to_json().replace(b"50", b"51", 1)]))
def test_anything_else_is_damaged(content: bytes) -> None:
    with pytest.raises(DamagedError, match=r"latest\.json"):
        latest.parse(content)
