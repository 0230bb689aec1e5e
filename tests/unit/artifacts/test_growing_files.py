from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from deepicd.artifacts import growing_files
from deepicd.artifacts.growing_files import Follower, Sent, is_due
from deepicd.artifacts.local_layout import VerlFolder
from deepicd.artifacts.store.base import ChangedError, OnBytes, Transferred
from deepicd.artifacts.store.folder import FolderStore

KEY = "attempts/1/logs/training.log"
GIB = 2**30


@pytest.mark.parametrize(
    ("state", "sent", "now", "due"),
    [
        ((1, 1), None, 0.0, True),
        ((1, 1), Sent((1, 1), 0.0), 1e6, False),
        ((2, 1), Sent((1, 1), 0.0), 1.0, False),
        ((2, 1), Sent((1, 1), 0.0), 5.0, True),
        ((1, 2), Sent((1, 1), 0.0), 5.0, True),
        ((GIB, 2), Sent((1, 1), 0.0), 500.0, False),
        ((GIB, 2), Sent((1, 1), 0.0), 512.0, True),
    ],
)
def test_a_changed_file_is_due_after_some_seconds_and_a_large_one_later(
    state: tuple[int, int], sent: Sent | None, now: float, due: bool
) -> None:
    assert is_due(state, sent, now) is due


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def content(store: FolderStore) -> bytes | None:
    found = store.read(KEY)
    return found[0] if found else None


def test_a_file_is_replaced_as_it_grows(store: FolderStore, tmp_path: Path) -> None:
    clock = Clock()
    follower = Follower(store, VerlFolder(tmp_path), 1, clock)
    log = tmp_path / "training.log"
    log.write_text("one\n")
    follower.send()
    assert content(store) == b"one\n"
    log.write_text("one\ntwo\n")
    follower.send()
    assert content(store) == b"one\n"
    assert follower.unsent() == [KEY]
    clock.now = 5.0
    follower.send()
    assert content(store) == b"one\ntwo\n"
    assert follower.unsent() == []


def test_at_the_end_everything_is_sent_immediately(store: FolderStore, tmp_path: Path) -> None:
    follower = Follower(store, VerlFolder(tmp_path), 1, Clock())
    (tmp_path / "training.log").write_text("one\n")
    follower.send()
    (tmp_path / "training.log").write_text("one\ntwo\n")
    follower.send(everything=True)
    assert content(store) == b"one\ntwo\n"


class Growing(FolderStore):
    """The log grows whenever it is read in place."""

    source = Path()

    def upload(self, files: Iterable[tuple[Path, str]], on_bytes: OnBytes | None = None) -> Sequence[Transferred]:
        chosen = list(files)
        if chosen[0][0] == self.source:
            raise ChangedError(self.source.name)
        return super().upload(chosen, on_bytes)


def test_a_large_file_that_keeps_growing_is_sent_nevertheless(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(growing_files, "_WHOLE", 3)
    store = Growing(tmp_path / "store")
    store.source = tmp_path / "training.log"
    store.source.write_text("large")
    Follower(store, VerlFolder(tmp_path), 1, Clock()).send()
    assert content(store) == b"large"
