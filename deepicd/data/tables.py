"""Reads MIMIC-IV's CSV tables through DuckDB.

Every column is read as text and cast by name: type inference would turn codes such as `1E10` into numbers.
DuckDB's errors quote the offending line, which may be a note, so their text is never passed on.
"""

from __future__ import annotations

import csv
import errno
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd.data.text_lines import LONGEST, lines
from deepicd.errors import CrashError, UserError

if TYPE_CHECKING:
    import duckdb

MEMORY_LIMIT = "256MB"
_LONGEST_HEADER = 65536


@dataclass(frozen=True, slots=True)
class Table:
    """One CSV file and the names of its columns, in the file's order."""

    path: Path
    columns: tuple[str, ...]

    @property
    def sql(self) -> str:
        """A DuckDB table function that reads the file strictly, all columns as text."""
        columns = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in self.columns)
        return (
            f"read_csv({literal(str(self.path))}, auto_detect=false, header=true, delim=',', quote='\"', "
            f"escape='\"', strict_mode=true, null_padding=false, columns={{{columns}}})"
        )


def connect(work: Path) -> duckdb.DuckDBPyConnection:
    """Open a database that spills into `work` and stays within MEMORY_LIMIT.

    It uses one thread: rows keep the file's order, and the CSV reader holds one buffer.
    """
    import duckdb

    connection = duckdb.connect(str(work / "tables.duckdb"))
    connection.execute(f"SET memory_limit = '{MEMORY_LIMIT}'")
    connection.execute(f"SET temp_directory = {literal(str(work / 'spill'))}")
    # A full disk then has an error of its own, with its errno; at its default, DuckDB calls it a lack of memory.
    connection.execute("SET max_temp_directory_size = '1000TiB'")
    connection.execute("SET errors_as_json = true")
    connection.execute("SET threads = 1")
    connection.execute("SET enable_progress_bar = false")
    # Keep joins as written: the hash table of the join with the notes must hold the ids, never the text.
    connection.execute("SET disabled_optimizers = 'join_order,build_side_probe_side'")
    return connection


def find(folder: Path, name: str, required: Sequence[str]) -> Table:
    """Find `name`.csv or `name`.csv.gz in a folder and read its header.

    Raises:
        UserError: the folder, the file or a required column is missing, both forms of the file exist, or an uncompressed file
            does not end in a line break (it was cut off).
    """
    if not folder.is_dir():
        found_there = "is a file" if folder.is_file() else "no such folder"
        raise UserError(f"{folder}: {found_there}: give the folder with {name}.csv.gz")
    found = [path for path in (folder / f"{name}.csv", folder / f"{name}.csv.gz") if path.is_file()]
    if not found:
        raise UserError(f"{folder}: table {name} is missing: put {name}.csv or {name}.csv.gz into it")
    if len(found) > 1:
        raise UserError(f"{folder}: both {name}.csv and {name}.csv.gz exist: keep one of them")
    path = found[0]
    columns = _header(path)
    missing = [column for column in required if column not in columns]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing: use the unchanged MIMIC-IV table")
    if path.suffix == ".csv" and not _ends_in_line_break(path):
        raise UserError(f"{path}: the table is cut off in its last row: download it again")
    return Table(path, columns)


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turn errors of DuckDB and pyarrow while reading `path` into a one-line error without text of the file.

    Raises:
        UserError: the file is cut off, damaged or unreadable.
        CrashError: DuckDB ran out of memory.
        OSError: the disk is full (ENOSPC); the caller knows which folder to name.
    """
    import duckdb
    import pyarrow as pa

    try:
        with database():
            yield
    except (duckdb.Error, pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{path}: {_fault(Path(path))}") from None  # a traceback must not show the quoted line either


@contextmanager
def database() -> Iterator[None]:
    """Turn DuckDB's errors of a full disk and of its memory limit into errors with a type.

    Raises:
        OSError: the disk is full (ENOSPC).
        CrashError: DuckDB ran out of memory.
    """
    import duckdb

    try:
        yield
    except (duckdb.Error, OSError) as error:
        found = _structured(error)
        if found.get("errno") in {str(errno.ENOSPC), str(errno.EDQUOT)}:
            raise OSError(errno.ENOSPC, "No space left on device") from None
        if found.get("exception_type") == "Out of Memory":
            raise CrashError(f"DuckDB needed more than {MEMORY_LIMIT} of memory: use a smaller table") from None
        raise


def _structured(error: Exception) -> Mapping[str, Any]:
    """DuckDB's error as `errors_as_json` writes it: an object, maybe with its cause in its message.

    Errors that pass through Arrow keep only the text, so it is read in any case.
    """
    found: dict[str, Any] = {}
    text = str(error)
    while (start := text.find("{")) >= 0:
        try:
            found |= json.loads(text[start:])
        except ValueError:
            break
        text = str(found.pop("exception_message", ""))
    return found


def _fault(path: Path) -> str:
    """What is wrong with a table that DuckDB could not read, and what to do. It is read again, row by row."""
    if path.name.endswith((".csv", ".csv.gz")):
        csv.field_size_limit(LONGEST)
        rows = csv.reader((line.decode() for line in lines(path)), strict=True)
        number = 0
        try:
            width, number = len(next(rows, ())), 1
            for number, cells in enumerate(rows, start=2):
                if cells and len(cells) != width:
                    return f"row {number} has {len(cells)} cells, not {width}: it is cut off: download the table again"
        except UnicodeDecodeError:
            return f"row {number + 1} is not UTF-8 text: download the table again"
        except csv.Error:
            return f"row {number + 1} is cut off or its quotes are broken: download the table again"
        except (EOFError, gzip.BadGzipFile, zlib.error):
            return "the compressed file is cut off or damaged: download it again"
        except OSError as error:
            return f"cannot be read ({error.strerror or 'damaged'}): check the file and its permissions"
    return "the file cannot be read as a table: download it again"


def _header(path: Path) -> tuple[str, ...]:
    try:
        line = next(lines(path))[:_LONGEST_HEADER].decode().strip()
    except (EOFError, gzip.BadGzipFile, zlib.error, UnicodeDecodeError):
        raise UserError(f"{path}: the file is cut off or damaged: download it again") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror}): check its permissions") from None
    if not line:
        raise UserError(f"{path}: the file is empty: download it again")
    return tuple(name.strip().lower() for name in next(csv.reader([line])))


def _ends_in_line_break(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) in {b"\n", b"\r"}


def literal(text: str) -> str:
    """The text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"
