"""Writes the cohort as Parquet files for verl."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd import prompt
from deepicd.data.splits import SPLITS
from deepicd.data.tables import literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

ABILITY = "icd-10-cm"
SOURCES = "sources.parquet"
_ROW_GROUP = 1024


def schema() -> pa.Schema:
    """Columns of train, validation and test: first verl's, then DeepICD's."""
    import pyarrow as pa

    message = pa.struct({"role": pa.string(), "content": pa.string()})
    return pa.schema(
        {
            "data_source": pa.string(),
            "prompt": pa.list_(message),
            "ability": pa.string(),
            "reward_model": pa.struct({"style": pa.string(), "ground_truth": pa.string()}),
            "extra_info": pa.struct(
                {
                    "index": pa.int64(),
                    "id": pa.string(),
                    "split": pa.string(),
                    "fiscal_years": pa.list_(pa.int32()),
                    "local_code": pa.bool_(),
                }
            ),
            "id": pa.string(),
            "subject_id": pa.string(),
            "code": pa.string(),
            "sex": pa.string(),
            "age": pa.int64(),
            "race": pa.string(),
            "insurance": pa.string(),
            "language": pa.string(),
        }
    )


def key(names: Container[str]) -> str:
    """The column with the admission's id: `id`, or `hadm_id` (a number) in cohorts of earlier versions."""
    return "id" if "id" in names else "hadm_id"


def is_local(extra_info: Mapping[str, Any]) -> bool:
    """Whether the row's code is one of the hospital's own; False in cohorts of earlier versions, which dropped such codes."""
    return bool(extra_info.get("local_code"))


def write(connection: duckdb.DuckDBPyConnection, extracted: Path, folder: Path, data_source: str) -> None:
    """Write one Parquet file per split, with rows in the order of the notes.

    `extra_info.fiscal_years`: the first and last that the admission can be in; null if unknown.
    Reads tables `cohort`, `splits`, `people`. Age is in years at admission.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    connection.execute(
        """
        CREATE TABLE facts AS
        SELECT c.place, c.subject_id::VARCHAR AS subject_id, c.id::VARCHAR AS id, c.code, s.split, p.sex, p.age, p.race,
               p.insurance, p.language, c.fiscal_years, c.local_code
        FROM cohort c JOIN splits s USING (subject_id) JOIN people p USING (id)
        """
    )
    reader = connection.sql(
        "SELECT f.*, n.note FROM read_parquet($notes) n JOIN facts f USING (place)", params={"notes": str(extracted)}
    ).to_arrow_reader(_ROW_GROUP)
    waiting: dict[str, list[dict[str, Any]]] = {name: [] for name in SPLITS}
    written = dict.fromkeys(SPLITS, 0)
    columns = schema()
    with ExitStack() as files:
        writers = {
            name: files.enter_context(pq.ParquetWriter(folder / f"{name}.parquet", columns, compression="zstd"))
            for name in SPLITS
        }

        def flush(name: str) -> None:
            if waiting[name]:
                writers[name].write_table(pa.Table.from_pylist(waiting[name], schema=columns))
                waiting[name].clear()

        for batch in reader:
            for fact in batch.to_pylist():
                name = fact["split"]
                waiting[name].append(_row(fact, written[name], data_source))
                written[name] += 1
                if len(waiting[name]) == _ROW_GROUP:
                    flush(name)
        for name in SPLITS:
            flush(name)


def write_sources(connection: duckdb.DuckDBPyConnection, extracted: Path, path: Path) -> None:
    """Write where in the source each kept note comes from, with rows in the order of the notes.

    Columns: id, note_id, place (row in the source, from 1), later (where the admission part of the text ends) and spans
    (section, start, end of the kept pieces). Offsets are in characters. The only pieces after `later` are lists of medications
    on admission. This is a separate file because the training stack passes every column of the splits to every worker.
    """
    connection.execute(
        f"""
        COPY (
            SELECT id::VARCHAR AS id, note_id, place, later, spans
            FROM read_parquet({literal(str(extracted))}) JOIN (SELECT place FROM cohort) USING (place) ORDER BY place
        ) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)
        """  # noqa: S608 - the files' names are quoted
    )


def _row(fact: dict[str, Any], index: int, data_source: str) -> dict[str, Any]:
    return {
        "data_source": data_source,
        "prompt": prompt.messages(fact["note"]),
        "ability": ABILITY,
        "reward_model": {"style": "rule", "ground_truth": fact["code"]},
        "extra_info": {"index": index, **{name: fact[name] for name in ("id", "split", "fiscal_years", "local_code")}},
        **{name: fact[name] for name in ("id", "subject_id", "code", "sex", "age", "race", "insurance", "language")},
    }
