from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.training import log_tail
from deepicd.training.log_tail import LogTail


def test_only_complete_lines_that_were_added_are_read(tmp_path: Path) -> None:
    log = tmp_path / "training.log"
    log.write_text("of an earlier launch\n")
    tail = LogTail(log)
    with log.open("a") as file:
        file.write("one\ntw")
    assert tail.new_lines() == ["one"]
    with log.open("a") as file:
        file.write("o\n")
    assert tail.new_lines() == ["two"]
    assert tail.recent == ["one", "two"]


def test_a_line_that_is_longer_than_a_look_does_not_hide_those_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_tail, "_PIECE", 8)
    log = tmp_path / "training.log"
    tail = LogTail(log)
    log.write_text("x" * 20 + "\nthe reason\n")
    tail.read_rest()
    assert "reason" in "".join(tail.recent)
