"""Writing the cohort as verl's Parquet files."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd import prompt
from deepicd.data.splits import SPLITS
from deepicd.data.tables import literal

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

DATA_SOURCE = "mimic-iv"
ABILITY = "icd-10-cm"
SOURCES = "sources.parquet"
_ROW_GROUP = 1024


def schema() -> pa.Schema:
    """Columns of train, validation and test: verl's, then ours."""
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
                    "hadm_id": pa.int64(),
                    "split": pa.string(),
                    "fiscal_years": pa.list_(pa.int32()),
                    "local_code": pa.bool_(),
                }
            ),
            "subject_id": pa.int64(),
            "hadm_id": pa.int64(),
            "code": pa.string(),
            "sex": pa.string(),
            "age": pa.int64(),
            "race": pa.string(),
            "insurance": pa.string(),
            "language": pa.string(),
        }
    )


def is_local(extra_info: Mapping[str, Any]) -> bool:
    """Whether the row's code is one of the hospital's own; False in cohorts of earlier versions, which dropped them."""
    return bool(extra_info.get("local_code"))


def write(connection: duckdb.DuckDBPyConnection, extracted: Path, folder: Path) -> None:
    """Write one Parquet file a split, rows in the order of the summaries.

    `extra_info.fiscal_years`: the first and last that the admission can be in; null where they are not known.
    Reads tables `cohort`, `splits`, `admissions`, `patients`. Age is in years at admission:
    anchor_age + year(admittime) - anchor_year.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    connection.execute(
        """
        CREATE TABLE facts AS
        SELECT c.place, c.subject_id, c.hadm_id, c.code, s.split, p.sex, a.race, a.insurance, a.language,
               p.anchor_age + a.admit_year - p.anchor_year AS age, c.fiscal_years, c.local_code
        FROM cohort c JOIN splits s USING (subject_id) JOIN admissions a USING (hadm_id)
             JOIN patients p ON p.subject_id = c.subject_id
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
                waiting[name].append(_row(fact, written[name]))
                written[name] += 1
                if len(waiting[name]) == _ROW_GROUP:
                    flush(name)
        for name in SPLITS:
            flush(name)


def write_sources(connection: duckdb.DuckDBPyConnection, extracted: Path, path: Path) -> None:
    """Write where in the discharge table each kept note comes from, rows in the order of the summaries.

    hadm_id, note_id, place (row, from 1), later (where the admission part of its text ends for good) and spans (section,
    start, end: the pieces that were kept), counted in characters. Lists of medications on admission are the only
    pieces behind `later`. A file of its own: the training stack hands every column of the splits to every worker.
    """
    connection.execute(
        f"""
        COPY (
            SELECT hadm_id, note_id, place, later, spans
            FROM read_parquet({literal(str(extracted))}) JOIN (SELECT place FROM cohort) USING (place) ORDER BY place
        ) TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd)
        """  # noqa: S608 - the files' names are quoted
    )


def _row(fact: dict[str, Any], index: int) -> dict[str, Any]:
    return {
        "data_source": DATA_SOURCE,
        "prompt": prompt.messages(fact["note"]),
        "ability": ABILITY,
        "reward_model": {"style": "rule", "ground_truth": fact["code"]},
        "extra_info": {"index": index, **{name: fact[name] for name in ("hadm_id", "split", "fiscal_years", "local_code")}},
        **{name: fact[name] for name in ("subject_id", "hadm_id", "code", "sex", "age", "race", "insurance", "language")},
    }
