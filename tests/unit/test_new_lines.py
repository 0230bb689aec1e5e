from __future__ import annotations

from pathlib import Path

from deepicd.new_lines import NewLines


def test_each_complete_line_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "lines"
    lines = NewLines(path)
    assert lines.read() == []  # the file is still missing
    path.write_bytes(b"a\nb\nhal")
    assert lines.read() == [b"a", b"b"]
    assert lines.read() == []
    with path.open("ab") as file:
        file.write(b"f\n")
    assert lines.read() == [b"half"]
