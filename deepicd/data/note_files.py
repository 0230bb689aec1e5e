"""Reads files of notes row by row: Parquet, CSV or JSON lines; the last two also compressed with gzip.

Only a few rows are in memory. No error shows a value.
"""

from __future__ import annotations

import csv
import difflib
import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from glob import glob
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd.data.note_row import TEXT_ONLY, Row
from deepicd.data.text_lines import LONGEST, lines
from deepicd.errors import UserError
from deepicd.json_lines import check_names, read_object
from deepicd.spec.data import NOTE_COLUMNS, REQUIRED_NOTE_COLUMNS, NotesSource

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 64  # rows of a Parquet file that are decoded together
_BUFFER = 1 << 20
_COLUMN_NAME = re.compile(r"[\w.-]{1,40}(?: [\w.-]{1,20}){0,2}")
_SHOWN_NAMES = 30


def matching(source: NotesSource) -> list[Path]:
    """The files of the source that exist, each once: pattern by pattern, those of a pattern sorted by name."""
    return list(dict.fromkeys(path for pattern in source.patterns for path in _matching(pattern)))


def find(source: NotesSource) -> list[Path]:
    """The files of the source, at least one for each pattern.

    Raises:
        UserError: no file matches a pattern, or the type of one is not supported.
    """
    for pattern in source.patterns:
        if not _matching(pattern):
            raise UserError(f"{pattern}: no such file: give the file of notes, or a pattern such as notes-*.parquet")
    found = matching(source)
    for path in found:
        _reader(path)
    return found


def named(source: NotesSource) -> str:
    """What the user called the files, for errors about all of them."""
    return ", ".join(source.patterns)


def _matching(pattern: str) -> list[Path]:
    if Path(pattern).is_file():
        return [Path(pattern)]
    return [Path(path) for path in sorted(glob(pattern))]  # noqa: PTH207 - Path.glob takes no absolute pattern


def read(source: NotesSource, *, first: int | None = None) -> Iterator[Row]:
    """The rows of all files, one at a time, in the files' order; `first`: only this many of each file.

    Raises:
        UserError: a file is missing, damaged or not UTF-8, a column is missing or has the wrong type, or a line is broken.
    """
    wanted = {name: source.columns.get(name, name) for name in NOTE_COLUMNS}
    for path in find(source):
        try:
            yield from islice(_reader(path)(path, wanted, source.columns), first)
        except (EOFError, gzip.BadGzipFile, zlib.error):
            failure = "the compressed file is cut off or damaged: pack it again"
        except OSError as error:
            failure = f"cannot be read ({error.strerror or 'damaged'}): check the file and its permissions"
        else:
            continue
        raise UserError(f"{path}: {failure}")


_Reader = Callable[[Path, Mapping[str, str], Mapping[str, str]], Iterator[Row]]


def _reader(path: Path) -> _Reader:
    """The reader of the file's type; raises UserError if the type is not supported."""
    for ending, reader in _READERS.items():
        if path.name.lower().endswith(ending):
            return reader
    raise UserError(f"{path}: is not a .parquet, .csv, .csv.gz, .jsonl or .jsonl.gz file: convert it to one of these")


def _present(path: Path, found: Sequence[str], wanted: Mapping[str, str], mapped: Mapping[str, str]) -> dict[str, str]:
    """The names of the wanted columns in a file, by our names; optional columns may be missing.

    Args:
        path: the file, for messages.
        found: the file's columns.
        wanted: names in the file by our names.
        mapped: those that the user named.

    Raises:
        UserError: a required or mapped column is missing, or a column occurs twice.
    """
    missing = [name for name in wanted if wanted[name] not in found and (name in REQUIRED_NOTE_COLUMNS or name in mapped)]
    if missing:
        shown = [name for name in found if _COLUMN_NAME.fullmatch(name)][:_SHOWN_NAMES]
        near = {name.lower(): name for name in shown}
        alike = next((near[name] for name in difflib.get_close_matches(missing[0], near, n=1)), "NAME")
        others = f" and {len(found) - len(shown)} others" if len(found) > len(shown) else ""
        raise UserError(
            f"{path}: has no column {', '.join(wanted[name] for name in missing)}, only {', '.join(shown) or 'none'}{others}: "
            f"name each by `columns` in run.yaml ({missing[0]}: {alike}) or by --column {missing[0]}={alike}"
        )
    check_names(found, set(wanted.values()), str(path), alike=1)
    present = {name: column for name, column in wanted.items() if column in found}
    for column in present.values():
        if found.count(column) > 1:
            raise UserError(f"{path}: column {column} occurs twice: remove one of them")
    return present


def _parquet(path: Path, wanted: Mapping[str, str], mapped: Mapping[str, str]) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
            schema = file.schema_arrow
            present = _present(path, schema.names, wanted, mapped)
            for name, column in present.items():
                _check_type(path, name, column, schema.field(column).type)
            number = 0
            for batch in file.iter_batches(_BATCH, columns=sorted(set(present.values()))):
                for row in _decoded(path, batch, number):
                    number += 1
                    yield Row.of(f"{path}: row {number}", {name: row[column] for name, column in present.items()})
    except (pa.ArrowException, UnicodeDecodeError):  # the latter: a column's name in a damaged file
        failure = f"{path}: is not a Parquet file, or is damaged: write it again"
    else:
        return
    raise UserError(failure)


def _decoded(path: Path, batch: pa.RecordBatch, before: int) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except UnicodeDecodeError:
        failure = f"{path}: rows {before + 1} to {before + batch.num_rows}: text that is not UTF-8: write the file as UTF-8"
    else:
        return rows
    raise UserError(failure)


def _check_type(path: Path, name: str, column: str, kind: pa.DataType) -> None:
    import pyarrow as pa

    if isinstance(kind, pa.DictionaryType):
        kind = kind.value_type
    types = pa.types
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind):
        return
    if name not in TEXT_ONLY and (types.is_integer(kind) or types.is_floating(kind)):
        return
    lost = ": ICD-10-CM codes begin with a letter, and numbers lose zeros" if name == "code" else ""
    raise UserError(f"{path}: column {column} is of type {kind}, not text{lost}: write it as text")


def _csv(path: Path, wanted: Mapping[str, str], mapped: Mapping[str, str]) -> Iterator[Row]:
    csv.field_size_limit(LONGEST)
    rows = csv.reader((line.decode() for line in lines(path)), strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(rows, [])]
        number = 1
        present = _present(path, header, wanted, mapped)
        places = {name: header.index(column) for name, column in present.items()}
        for cells in rows:
            number += 1
            if not cells:
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}: row {number}: has {len(cells)} cells, the header has {len(header)}: "
                    "quote cells that contain commas or line breaks"
                )
            yield Row.of(f"{path}: row {number}", {name: cells[place] for name, place in places.items()})
    except csv.Error:
        failure = "its quotes are broken: quote such cells, and write a quote within them twice"
    except UnicodeDecodeError:
        failure = "is not UTF-8 text: save the file as UTF-8"
    else:
        return
    raise UserError(f"{path}: row {number + 1}: {failure}")


def _json_lines(path: Path, wanted: Mapping[str, str], mapped: Mapping[str, str]) -> Iterator[Row]:
    present: Mapping[str, str] | None = None
    unseen = {wanted[name] for name in mapped}
    for number, line in enumerate(lines(path), start=1):
        where = f"{path}: line {number}"
        if not line.strip():
            continue
        value = read_object(line, where, 'write an object such as {"id": …, "note": …} a line, and save the file as UTF-8')
        if present is None:
            # Lines may leave out optional columns, so only the required ones can be checked in the first line.
            _present(path, list(value), {name: wanted[name] for name in REQUIRED_NOTE_COLUMNS}, {})
            check_names(value, set(wanted.values()), where, alike=1)
            present = wanted
        unseen.difference_update(value)
        yield Row.of(where, {name: value[column] for name, column in present.items() if column in value})
    if present is None:
        raise UserError(f"{path}: the file is empty: write one object per line")
    if unseen:
        raise UserError(f"{path}: column {', '.join(sorted(unseen))} is in no line: correct the name in columns")


_READERS: Mapping[str, _Reader] = {
    ".parquet": _parquet, ".csv": _csv, ".csv.gz": _csv, ".jsonl": _json_lines, ".jsonl.gz": _json_lines,
}  # fmt: skip
