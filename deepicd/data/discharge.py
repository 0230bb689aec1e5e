"""Streams the discharge summaries once and keeps only the sections written at admission."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd.data import extracted
from deepicd.data.tables import Table, find, reading
from deepicd.errors import UserError

if TYPE_CHECKING:
    import duckdb

_COLUMNS = ("note_id", "subject_id", "hadm_id", "note_type", "note_seq", "text")
_SET_ASIDE = ("without_hadm_id", "not_a_discharge_summary", "admission_not_in_admissions", "without_line_breaks")
_BATCH = 512


@dataclass(slots=True)
class Summaries:
    """Counts of one pass. A summary is set aside before its admission is kept or dropped.

    A summary without line breaks is set aside only if its admission would otherwise be kept.
    """

    read: int = 0
    set_aside: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_SET_ASIDE, 0))


def find_table(folder: Path) -> Table:
    """Find discharge.csv or discharge.csv.gz and check its header.

    Raises:
        UserError: see `deepicd.data.tables.find`.
    """
    return find(folder, "discharge", _COLUMNS)


def extract_sections(connection: duckdb.DuckDBPyConnection, discharge: Table, target: Path) -> Summaries:
    """Write the admission note of every eligible admission to a Parquet file.

    Reads table `candidates` (id, subject_id, eligible) of all admissions. The file has the format of `deepicd.data.extracted`.

    Raises:
        UserError: the table is cut off or damaged, or a summary has another patient than its admission.
    """
    query = f"""
        SELECT try_cast(trim(n.subject_id) AS BIGINT) AS subject_id, try_cast(trim(n.hadm_id) AS BIGINT) AS hadm_id,
               try_cast(trim(n.note_seq) AS BIGINT) AS note_seq, trim(n.note_type) AS note_type, trim(n.note_id) AS note_id,
               coalesce(trim(n.hadm_id), '') = '' AS without_hadm_id,
               c.subject_id AS owner, CASE WHEN c.eligible THEN n.text END AS text
        FROM {discharge.sql} n LEFT JOIN candidates c ON try_cast(trim(n.hadm_id) AS BIGINT) = c.id
    """  # noqa: S608 - the file's name is quoted
    result = Summaries()
    swapped: list[int] = []
    with extracted.writing(target, numeric=True) as write:
        batches = _Batches(connection, query, discharge.path)
        while (batch := batches.following()) is not None:
            kept: list[dict[str, Any]] = []
            for row in batch:
                result.read += 1
                if row["without_hadm_id"]:
                    result.set_aside["without_hadm_id"] += 1
                    continue
                if row["hadm_id"] is None or row["subject_id"] is None or row["note_seq"] is None:
                    raise UserError(
                        f"{discharge.path}: row {result.read + 1}: subject_id, hadm_id or note_seq is not a whole number: "
                        "the table is cut off or was changed: download it again"
                    )
                if row["owner"] is None:
                    result.set_aside["admission_not_in_admissions"] += 1
                elif row["owner"] != row["subject_id"]:
                    swapped.append(row["hadm_id"])
                elif row["note_type"] != "DS":
                    result.set_aside["not_a_discharge_summary"] += 1
                elif row["text"] is not None:
                    origin = {
                        "place": result.read,
                        "id": row["hadm_id"],
                        "note_id": row["note_id"],
                        "note_seq": row["note_seq"],
                    }
                    kept.append(origin | extracted.cut(row["text"]))
                    result.set_aside["without_line_breaks"] += kept[-1]["unbroken"]
            write(kept)
    if swapped:
        raise UserError(
            f"{discharge.path}: {len(swapped)} notes have a subject_id that differs from the one in admissions for their "
            f"hadm_id, first hadm_id {swapped[0]}: their notes are swapped; use tables of one release"
        )
    return result


class _Batches:
    """Rows of a query over one CSV file, a few hundred at a time. Errors contain no text of the file."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
        self._path = path
        with reading(path):
            self._reader = connection.sql(query).to_arrow_reader(_BATCH)

    def following(self) -> list[dict[str, Any]] | None:
        with reading(self._path):
            try:
                rows: list[dict[str, Any]] = self._reader.read_next_batch().to_pylist()
            except StopIteration:
                return None
            return rows
