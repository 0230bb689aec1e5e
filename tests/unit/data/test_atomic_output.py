"""Files that appear all together or not at all."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path

import pytest

from deepicd.data.atomic_output import PARTIAL, atomic_output, disk_errors
from deepicd.errors import UserError


def test_files_appear_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    with atomic_output(out) as work:
        (work / "sub").mkdir()
        (work / "sub" / "a").write_text("1")
        assert not (out / "sub").exists()
    assert (out / "sub" / "a").read_text() == "1"
    assert not (out / PARTIAL).exists()


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")

    def fail() -> None:
        with atomic_output(tmp_path, last="a") as work:
            (work / "a").write_text("new")
            raise UserError("stop")

    with pytest.raises(UserError, match="stop"):
        fail()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "old"}


def test_scratch_is_not_published(tmp_path: Path) -> None:
    with atomic_output(tmp_path) as work:
        (work / ".scratch").mkdir()
        (work / ".scratch" / "a").write_text("1")
        (work / "b").write_text("2")
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_the_mark_of_completeness_moves_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.json").write_text("old")
    moved: list[tuple[str, bool]] = []
    replace = Path.replace

    def record(self: Path, target: Path) -> Path:
        moved.append((self.name, (tmp_path / "a.json").exists()))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", record)
    with atomic_output(tmp_path, last="a.json") as work:
        for name in ("a.json", "b", "c"):
            (work / name).write_text("new")
    assert moved == [("b", False), ("c", False), ("a.json", False)]


def test_leftovers_of_a_killed_process_are_cleared(tmp_path: Path) -> None:
    (tmp_path / PARTIAL).mkdir()
    (tmp_path / PARTIAL / "half").write_text("x")
    with atomic_output(tmp_path) as work:
        (work / "a").write_text("1")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_second_writer_of_the_folder_is_refused(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from deepicd.data.atomic_output import atomic_output\n"
        f"with atomic_output(Path({str(tmp_path)!r})): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"in\n"
        with pytest.raises(UserError, match="another process is writing this folder"), atomic_output(tmp_path):
            pass
        first.communicate(b"")
    assert first.returncode == 0


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk is full"), (errno.EDQUOT, "disk is full"), (errno.EROFS, "not be written")],
)
def test_a_disk_that_cannot_take_more_is_named(tmp_path: Path, number: int, said: str) -> None:
    with pytest.raises(UserError, match=f"{tmp_path}: .*{said}"), disk_errors(tmp_path):
        raise OSError(number, "no")


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("")
    with pytest.raises(UserError, match="cannot be used as the output folder"), atomic_output(tmp_path / "a"):
        pass
