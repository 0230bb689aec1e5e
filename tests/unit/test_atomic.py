from __future__ import annotations

from pathlib import Path

import pytest

from deepicd import atomic


def test_a_file_appears_with_its_whole_content(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    with atomic.replacing(path) as file:
        file.write(b"one")
        assert not path.exists()
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_what_there_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic.write(path, "before")
    with pytest.raises(TypeError), atomic.replacing(path) as file:
        file.writelines([b"half", "no bytes"])  # type: ignore[list-item]
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_who_may_read_a_file_is_decided_by_the_umask(tmp_path: Path) -> None:
    atomic.write(tmp_path / "ours", "x")
    (tmp_path / "any").write_text("x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "any").stat().st_mode
