"""Compares the notes of a cohort with the texts they were cut from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from deepicd import icd10
from deepicd.data import discharge, leaks, note_files, rows
from deepicd.data.cohort import WRITERS
from deepicd.data.splits import SPLITS
from deepicd.data.tables import connect, database, literal, reading
from deepicd.errors import UserError
from deepicd.spec.data import NotesSource

_BATCH = 256

Source = Path | NotesSource
"""The source of a cohort: the folder with MIMIC-IV's discharge table, or the user's own notes."""


def compare(folder: Path, source: Source) -> list[tuple[str, str, set[str]]]:
    """Notes that share text with the later part of their source: split, id and kinds (`deepicd.data.leaks.signs_of_source`).

    The source is streamed. DuckDB joins it with the cohort's rows and spills to `folder`.

    Raises:
        UserError: a file is missing or damaged, or the source lacks a note of the cohort.
    """
    recorded = folder / rows.SOURCES
    if not recorded.is_file():
        raise UserError(f"{recorded}: missing: run {WRITERS} again")
    compared, found = 0, []
    with TemporaryDirectory(prefix=".check-", dir=folder) as work, closing(connect(Path(work))) as connection, database():
        named, texts = _texts(source, Path(work) / "texts.parquet")
        with reading(recorded):
            kept_ids = _keyed(recorded, "note_id")
            ((kept,),) = connection.execute(f"SELECT count(*) FROM ({kept_ids})").fetchall()  # noqa: S608 - a file of ours
        splits = " UNION ALL ".join(
            f"SELECT '{name}' AS split, * FROM ({_keyed(folder / f'{name}.parquet', 'code, prompt[-1].content AS note')})"  # noqa: S608
            for name in SPLITS
        )
        query = f"""
            SELECT c.split, c.id, c.code, c.note, n.text
            FROM {texts} n JOIN (SELECT s.note_id, r.* FROM ({splits}) r JOIN ({kept_ids}) s USING (id)) c
                 ON trim(n.note_id) = c.note_id
        """  # noqa: S608 - the files' names are quoted
        with reading(named):
            for batch in connection.sql(query).to_arrow_reader(_BATCH):
                for row in batch.to_pylist():
                    compared += 1
                    title = icd10.description(row["code"]) if icd10.is_valid(row["code"]) else ""
                    if kinds := leaks.signs_of_source(row["note"], title, row["text"] or ""):
                        found.append((row["split"], row["id"], kinds))
    if kept != compared:
        raise UserError(f"{named}: has {compared} of the {kept} notes of the cohort: give what it was extracted from")
    return found


def parts(cohort: Path, split: str, source: Source, work: Path) -> Iterator[tuple[str, str, str]]:
    """The texts that the notes of a split were cut from, as the cohort has recorded the cut: id, earlier and later part.

    The source is streamed, in any order. DuckDB spills to `work`.

    Raises:
        UserError: a file is missing or damaged, or was not written with its cuts.
    """
    recorded = cohort / rows.SOURCES
    if not recorded.is_file():
        raise UserError(f"{recorded}: missing: run {WRITERS} again")
    with TemporaryDirectory(prefix=".parts-", dir=work) as folder, closing(connect(Path(folder))) as connection, database():
        named, texts = _texts(source, Path(folder) / "texts.parquet")
        with reading(recorded):
            cuts = _keyed(recorded, "note_id, later")
        query = f"""
            SELECT s.id, s.later, n.text
            FROM {texts} n JOIN (SELECT c.* FROM ({cuts}) c JOIN ({_keyed(cohort / f"{split}.parquet", "code")}) USING (id)) s
                 ON trim(n.note_id) = s.note_id
        """  # noqa: S608 - the files' names are quoted
        with reading(named):
            for batch in connection.sql(query).to_arrow_reader(_BATCH):
                for row in batch.to_pylist():
                    text = row["text"] or ""
                    yield row["id"], text[: row["later"]], text[row["later"] :]


def _keyed(path: Path, columns: str) -> str:
    """A query for the id and some columns of a Parquet file."""
    import pyarrow.parquet as pq

    key = rows.key(pq.read_schema(path).names)
    return f"SELECT {key}::VARCHAR AS id, {columns} FROM read_parquet({literal(str(path))})"  # noqa: S608 - a file of ours


def _texts(source: Source, copy: Path) -> tuple[Path | str, str]:
    """The source's name for errors, and SQL for a table with note_id and text."""
    if isinstance(source, Path):
        table = discharge.find_table(source)
        return table.path, table.sql
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema({"note_id": pa.string(), "text": pa.string()})
    notes = note_files.read(source)
    with pq.ParquetWriter(copy, schema, compression="zstd") as writer:
        while batch := [{"note_id": row["id"], "text": row["note"]} for row in islice(notes, _BATCH)]:
            writer.write_batch(pa.RecordBatch.from_pylist(batch, schema=schema))
    return note_files.named(source), f"read_parquet({literal(str(copy))})"
