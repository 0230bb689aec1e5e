"""Comparing the notes of a cohort with the summaries they were cut from."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from deepicd import icd10
from deepicd.data import leaks, notes, rows
from deepicd.data.splits import SPLITS
from deepicd.data.tables import connect, database, literal, reading
from deepicd.errors import UserError

_BATCH = 256


def compare(folder: Path, note: Path) -> list[tuple[str, int, set[str]]]:
    """Split, hadm_id and kinds of later text of each note that its source shows to hold some.

    The discharge table is streamed; DuckDB joins it with the cohort's rows, and spills into `folder`.

    Raises:
        UserError: a file is missing or damaged, or the discharge table lacks a note of the cohort.
    """
    discharge = notes.find_table(note)
    recorded = folder / rows.SOURCES
    if not recorded.is_file():
        raise UserError(f"{recorded}: missing: run `deepicd data mimic` again")
    splits = " UNION ALL ".join(
        f"SELECT '{name}' AS split, hadm_id, code, prompt[-1].content AS note "  # noqa: S608 - names of this file
        f"FROM read_parquet({literal(str(folder / f'{name}.parquet'))})"
        for name in SPLITS
    )
    query = f"""
        SELECT c.split, c.hadm_id, c.code, c.note, n.text
        FROM {discharge.sql} n
             JOIN (SELECT s.note_id, r.* FROM ({splits}) r JOIN read_parquet({literal(str(recorded))}) s USING (hadm_id)) c
             ON trim(n.note_id) = c.note_id
    """  # noqa: S608 - the files' names are quoted
    compared, found = 0, []
    with TemporaryDirectory(prefix=".check-", dir=folder) as work, closing(connect(Path(work))) as connection, database():
        with reading(recorded):
            count = f"SELECT count(*) FROM read_parquet({literal(str(recorded))})"  # noqa: S608 - the file's name is quoted
            ((kept,),) = connection.execute(count).fetchall()
        with reading(discharge.path):
            for batch in connection.sql(query).to_arrow_reader(_BATCH):
                for row in batch.to_pylist():
                    compared += 1
                    title = icd10.description(row["code"]) if icd10.is_valid(row["code"]) else ""
                    if kinds := leaks.signs_of_source(row["note"], title, row["text"] or ""):
                        found.append((row["split"], row["hadm_id"], kinds))
    if kept != compared:
        raise UserError(
            f"{discharge.path}: has {compared} of the {kept} notes of the cohort: give the folder it was extracted from"
        )
    return found
