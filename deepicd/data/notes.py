"""Extracts a split cohort from the user's own notes, with the same rules, counts and files as for MIMIC-IV."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd.data import cohort, extracted, note_files, selection, splits
from deepicd.data.atomic_output import atomic_output
from deepicd.data.cohort import Cohort
from deepicd.data.note_row import Row
from deepicd.data.tables import connect, database
from deepicd.errors import UserError
from deepicd.spec.data import NotesSource, SplitSpec

if TYPE_CHECKING:
    import duckdb

DATA_SOURCE = "notes"
_BATCH = 256
_FIRST = 100
"""Rows of each file that `look` reads."""
_CODE = re.compile(r"[A-Z0-9]{1,8}")
_WORD = re.compile(r"[A-Za-z]{1,16}")
_LABELS = ("sex", "race", "insurance", "language")


def extract(source: NotesSource, out: Path, split: SplitSpec) -> Cohort:
    """Write `train.parquet`, `validation.parquet`, `test.parquet`, `sources.parquet` and `cohort.json` to `out`.

    Args:
        source: the files, the names of their columns, and whether to cut the admission sections out of the notes.
        out: created if missing; its files are replaced only when all new ones are complete.
        split: shares of the patients, and the seed of their order; must be the default if the notes have a column split.

    Raises:
        UserError: a file cannot be read (`deepicd.data.note_files`); an id occurs twice; a split is unknown, missing in
            some rows, or not the same for all notes of a patient; the cohort or a split is empty; the disk is full.
    """
    note_files.find(source)
    with atomic_output(out, last=cohort.FILE) as work:
        scratch = work / ".scratch"
        scratch.mkdir()
        connection = connect(scratch)
        with closing(connection), database():
            set_aside = _read(connection, source, scratch / selection.EXTRACTED)
            rows = _check_ids(connection, source)
            own_splits = _has_splits(connection, source, rows)
            if own_splits and split != SplitSpec():
                raise UserError("data.split: the notes have a column split: remove one of the two")
            remedy = "check the columns"
            if source.sections == "admission":
                remedy += "; notes that were written at admission need sections: none"
            origin = selection.Origin(DATA_SOURCE, rows, set_aside, remedy)
            result = selection.finish(connection, work, origin, None if own_splits else split)
        result.write(work / cohort.FILE)
    return result


def look(source: NotesSource) -> None:
    """Look at the columns and the first rows of each file of notes.

    Raises:
        UserError: a file is missing, of an unknown type, empty, or breaks a rule in these rows (`deepicd.data.note_files`).
    """
    rows = 0
    for row in note_files.read(source, first=_FIRST):
        _facts(row)
        rows += 1
    if not rows:
        raise UserError(f"{note_files.named(source)}: has no rows: give a file with notes")


def _read(connection: duckdb.DuckDBPyConnection, source: NotesSource, target: Path) -> dict[str, int]:
    """Create tables `candidates` and `people` and the scratch file; return the numbers of notes that were set aside."""
    import pyarrow as pa

    text = ("origin", "id", "subject_id", "code", "reason", *_LABELS, "split")
    schema = pa.schema([("place", pa.int64()), ("age", pa.int64()), *((name, pa.string()) for name in text)])
    connection.register("batch", schema.empty_table())
    connection.execute("CREATE TABLE own AS SELECT * FROM batch")
    set_aside = {"without_line_breaks": 0}
    facts: list[dict[str, Any]] = []
    kept: list[dict[str, Any]] = []
    with extracted.writing(target, numeric=False) as write:

        def flush() -> None:
            connection.register("batch", pa.Table.from_pylist(facts, schema=schema))
            connection.execute("INSERT INTO own SELECT * FROM batch")
            write(kept)
            facts.clear()
            kept.clear()

        for place, row in enumerate(note_files.read(source), start=1):
            facts.append({"place": place} | _facts(row))
            if facts[-1]["reason"] is None:
                note = row["note"] or ""
                cut = extracted.cut(note) if source.sections == "admission" else extracted.whole(note)
                set_aside["without_line_breaks"] += cut["unbroken"]
                kept.append({"place": place, "id": facts[-1]["id"], "note_id": facts[-1]["id"], "note_seq": 1} | cut)
            if len(facts) == _BATCH:
                flush()
        flush()
    connection.execute(
        """
        CREATE VIEW candidates AS
        SELECT id, subject_id, code, sex, false AS local_code, false AS untitled, NULL::BIGINT[] AS fiscal_years, reason
        FROM own
        """
    )
    connection.execute("CREATE VIEW people AS SELECT id, sex, age, race, insurance, language, split FROM own")
    return set_aside


def _facts(row: Row) -> dict[str, Any]:
    """The facts of a note, without its text."""
    written = row["code"]
    code = None if written is None else written.upper().replace(".", "")
    if code is None:
        reason: str | None = "no_diagnosis"
    elif _CODE.fullmatch(code):
        reason, _ = selection.reason_and_local(code)
    else:  # it may be note text, so it is not shown anywhere
        code, reason = None, "unknown_code"
    labels = {name: row.label(name) or "UNKNOWN" for name in _LABELS}
    known = {"id": row.named("id"), "subject_id": row.named("patient_id"), "code": code, "reason": reason}
    return known | labels | {"origin": row.where, "age": row.whole_number("age"), "split": _split(row)}


def _split(row: Row) -> str | None:
    value = row["split"]
    if value is not None and value not in splits.SPLITS:
        found = f"'{value}'" if _WORD.fullmatch(value) else "another value"
        raise UserError(f"{row.where}: column split: {found}: write one of {', '.join(splits.SPLITS)}")
    return value


def _check_ids(connection: duckdb.DuckDBPyConnection, source: NotesSource) -> int:
    """The number of notes; raises UserError if an id occurs twice or there are no notes."""
    twice = connection.execute(
        "SELECT count(*), arg_min(origins, place) FROM "
        "(SELECT min(place) AS place, list(origin ORDER BY place)[:2] AS origins FROM own GROUP BY id HAVING count(*) > 1)"
    ).fetchone()
    if twice is not None and twice[0]:
        first, second = twice[1]
        raise UserError(f"{second}: column id: {twice[0]} ids occur twice, the first one in {first} as well: remove the copies")
    ((number,),) = connection.execute("SELECT count(*) FROM own").fetchall()
    if not number:
        raise UserError(f"{note_files.named(source)}: has no rows: give a file with notes")
    return int(number)


def _has_splits(connection: duckdb.DuckDBPyConnection, source: NotesSource, rows: int) -> bool:
    """Whether the notes have splits; raises UserError unless all notes have one, and all notes of a patient the same."""
    ((given, first),) = connection.execute(
        "SELECT count(split), arg_min(origin, place) FILTER (split IS NULL) FROM own"
    ).fetchall()
    if not given:
        return False
    if given < rows:
        raise UserError(
            f"{first}: column split: is empty here and in {rows - given - 1} other rows: fill it, or remove the column"
        )
    ((patients, example),) = connection.execute(
        "SELECT count(*), min(subject_id) FROM "
        "(SELECT subject_id FROM own GROUP BY subject_id HAVING count(DISTINCT split) > 1)"
    ).fetchall()
    if patients:
        raise UserError(
            f"{note_files.named(source)}: column split: {patients} patients are in more than one split, "
            f"the first is {example}: give all notes of a patient the same"
        )
    return True
