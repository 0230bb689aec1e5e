"""Finding and reading MIMIC-IV's CSV tables."""

from __future__ import annotations

import errno
import gzip
import traceback
from pathlib import Path

import pytest

from deepicd.data.tables import connect, database, find, reading
from deepicd.errors import CrashError, UserError

CANARY = "zebracanary"


def read(folder: Path, name: str = "t") -> list[tuple[str, ...]]:
    table = find(folder, name, ("a", "b"))
    with reading(table.path):
        rows: list[tuple[str, ...]] = connect(folder).execute(f"SELECT a, b FROM {table.sql}").fetchall()
    return rows


def test_all_values_stay_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n1E10,007\nE110 ,\n")
    assert read(tmp_path) == [("1E10", "007"), ("E110 ", None)]


def test_packed_and_plain_tables_read_alike(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write('a,b\n1,"line\nbreak and ""quotes"""\n')
    assert read(tmp_path) == [("1", 'line\nbreak and "quotes"')]


def test_columns_are_found_by_name_in_any_order(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("﻿B,extra,A\n1,2,3\n", encoding="utf-8")
    assert read(tmp_path) == [("3", "1")]


@pytest.mark.parametrize("packed", [False, True])
def test_rows_may_end_in_cr_alone(tmp_path: Path, packed: bool) -> None:
    content = b'a,b\r1,"x\ry"\r2,z\r'
    (tmp_path / ("t.csv.gz" if packed else "t.csv")).write_bytes(gzip.compress(content) if packed else content)
    assert read(tmp_path) == [("1", "x\ry"), ("2", "z")]


def test_a_folder_with_a_quote_in_its_name_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "o'hara"
    folder.mkdir()
    (folder / "t.csv").write_text("a,b\n1,2\n")
    assert read(folder) == [("1", "2")]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent: no such folder"):
        find(tmp_path / "absent", "t", ("a",))


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"table t is missing: put t\.csv or t\.csv\.gz into it"):
        find(tmp_path, "t", ("a",))


def test_two_forms_of_a_table_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a\n")
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a\n"))
    with pytest.raises(UserError, match=r"both t\.csv and t\.csv\.gz exist: keep one"):
        find(tmp_path, "t", ("a",))


def test_a_missing_column_is_named_with_its_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,c\n")
    with pytest.raises(UserError, match=r"t\.csv: column b is missing"):
        find(tmp_path, "t", ("a", "b"))


@pytest.mark.parametrize("content", [b"", b"\n"])
def test_an_empty_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(UserError, match="empty"):
        find(tmp_path, "t", ("a",))


WHOLE = f'a,b\n1,"{CANARY} one"\n2,"{CANARY} two, more {CANARY}"\n'.encode()


CUTS = [cut for cut in range(len(b"a,b\n") + 1, len(WHOLE)) if not WHOLE[:cut].endswith(b"\n")]


@pytest.mark.parametrize("cut", CUTS)
def test_a_plain_table_cut_anywhere_within_a_row_is_refused_without_its_text(tmp_path: Path, cut: int) -> None:
    (tmp_path / "t.csv").write_bytes(WHOLE[:cut])
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert "cut off" in str(caught.value)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize("cut", [5, 15, -20, -9, -8, -1])
def test_a_packed_table_cut_anywhere_is_refused(tmp_path: Path, cut: int) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(WHOLE)[:cut])
    with pytest.raises(UserError, match=r"t\.csv\.gz: .*cut off or damaged"):
        read(tmp_path)


def test_a_table_cut_in_its_quotes_before_it_was_packed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(WHOLE[:-8]))
    with pytest.raises(UserError, match="row 3 is cut off or its quotes are broken"):
        read(tmp_path)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(WHOLE)
    with pytest.raises(UserError, match="cut off or damaged"):
        read(tmp_path)


def test_text_that_is_not_utf8_is_refused_without_a_word_of_it(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(b"a,b\n1,\xff\xfe" + CANARY.encode() + b"\n")
    with pytest.raises(UserError, match="row 2 is not UTF-8 text") as caught:
        read(tmp_path)
    assert CANARY not in str(caught.value)


def test_a_traceback_of_the_error_does_not_show_the_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(WHOLE[:-8]))
    with pytest.raises(UserError) as caught:
        read(tmp_path)
    assert CANARY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        # As they come through Arrow.
        (OSError(f'IO Error: {{"exception_message": "{CANARY}", "errno": "28"}}'), OSError, "No space left on device"),
        (OSError(f'{CANARY} {{"exception_type": "Out of Memory"}} Out of Memory'), UserError, "cannot be read"),
        (OSError(f'Error: {{"exception_type": "Out of Memory", "x": "{CANARY}"}}'), CrashError, "of memory"),
        (OSError(f"anything: {CANARY}"), UserError, "cannot be read"),
    ],
)
def test_other_failures_of_the_reader_have_their_kinds(error: OSError, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said) as caught, reading(Path("t.csv")):
        raise error
    assert CANARY not in str(caught.value)


def test_duckdbs_own_errors_of_disk_and_memory_have_their_kinds(tmp_path: Path) -> None:
    connection = connect(tmp_path)
    with pytest.raises(OSError, match="No space left") as caught, database():
        connection.execute("COPY (SELECT range FROM range(100000)) TO '/dev/full' (FORMAT csv, USE_TMP_FILE false)")
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(CrashError, match="needed more than"), database():
        connection.execute("SELECT list(range) FROM range(40000000)")


def test_a_full_disk_is_left_to_the_writer_who_knows_the_folder() -> None:
    with pytest.raises(OSError, match="full"), reading(Path("t.csv")):
        raise OSError(errno.ENOSPC, "full")
