from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from deepicd import atomic
from deepicd.artifacts.store.folder import FolderStore


def test_the_remains_of_a_killed_upload_are_not_listed_and_deleted_once_they_are_old(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.write("a/file", b"x")
    new, old = (tmp_path / "a" / f"{atomic.PREFIX}{name}" for name in ("new", "old"))
    for path in (new, old):
        path.touch()
    os.utime(old, (0, 0))
    assert [item.key for item in store.list()] == ["a/file"]
    assert store.abort_uploads(datetime.now(UTC) - timedelta(days=1)) == 1
    assert (new.exists(), old.exists()) == (True, False)
