from __future__ import annotations

from pathlib import Path

from deepicd.appended import AppendedFile


def test_lines_are_added_and_found_where_they_start(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines"
    file = AppendedFile(path, torn=False)
    starts = [file.add(line) for line in (b"one\n", b"two\n", b"three\n")]
    content = path.read_bytes()
    assert content == b"one\ntwo\nthree\n"
    assert [content[start:].split(b"\n")[0] for start in starts] == [b"one", b"two", b"three"]


def test_a_torn_line_is_ended_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntw")
    start = AppendedFile(path, torn=True).add(b"three\n")
    assert path.read_bytes() == b"one\ntw\nthree\n"
    assert path.read_bytes()[start:] == b"three\n"


def test_only_the_user_can_read_the_file(tmp_path: Path) -> None:
    AppendedFile(tmp_path / "lines", torn=False).add(b"one\n")
    assert (tmp_path / "lines").stat().st_mode & 0o077 == 0
