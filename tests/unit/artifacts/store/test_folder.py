from __future__ import annotations

import errno
import os
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deepicd import atomic
from deepicd.artifacts.store.folder import FolderStore
from deepicd.errors import DeepICDError, StoreError, UserError


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


@pytest.mark.parametrize(("number", "kind"), [(errno.EIO, StoreError), (errno.EACCES, UserError)])
def test_a_folder_that_cannot_be_read_is_not_an_empty_one(
    number: int, kind: type[DeepICDError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests may run as root, who can read every folder.
    store = FolderStore(tmp_path)
    store.write("a/file", b"x")
    opened = os.scandir

    def broken(path: Any) -> Any:
        if Path(path).name == "a":
            raise OSError(number, os.strerror(number))
        return opened(path)

    monkeypatch.setattr(os, "scandir", broken)
    with pytest.raises(kind, match=re.escape(str(tmp_path))):
        list(store.list())
