"""The four tables of MIMIC-IV's hosp module, checked and loaded into DuckDB."""
# ruff: noqa: S608 - the names put into queries are the constants below

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd.data.tables import Table, find, reading
from deepicd.data.years import GROUP
from deepicd.errors import UserError

if TYPE_CHECKING:
    import duckdb

_LABEL = "coalesce(nullif(trim({0}), ''), 'UNKNOWN')"
_WHOLE = "try_cast(trim({0}) AS BIGINT)"
_CODE = "upper(replace(trim({0}), '.', ''))"
_YEAR = "year(try_cast(trim({0}) AS TIMESTAMP))"
_DATE_OR_NOTHING = "CASE WHEN trim({0}) <> '' THEN try_cast(trim({0}) AS DATE) IS NOT NULL ELSE true END"

# table -> column -> (name after loading, SQL to read it). Nulls are refused, except in long_title.
_TABLES: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "admissions": {
        "subject_id": ("subject_id", _WHOLE),
        "hadm_id": ("hadm_id", _WHOLE),
        "admittime": ("admit_year", _YEAR),
        "insurance": ("insurance", _LABEL),
        "language": ("language", _LABEL),
        "race": ("race", _LABEL),
    },
    "patients": {
        "subject_id": ("subject_id", _WHOLE),
        "gender": ("sex", _LABEL),
        "anchor_age": ("anchor_age", _WHOLE),
        "anchor_year": ("anchor_year", _WHOLE),
        "dod": ("dod_is_date", f"nullif({_DATE_OR_NOTHING}, false)"),
    },
    "diagnoses_icd": {
        "subject_id": ("subject_id", _WHOLE),
        "hadm_id": ("hadm_id", _WHOLE),
        "seq_num": ("seq_num", _WHOLE),
        "icd_code": ("code", f"nullif({_CODE}, '')"),
        "icd_version": ("version", f"CASE WHEN {_WHOLE} IN (9, 10) THEN {_WHOLE} END"),
    },
    "d_icd_diagnoses": {
        "icd_code": ("code", f"nullif({_CODE}, '')"),
        "icd_version": ("version", f"CASE WHEN {_WHOLE} IN (9, 10) THEN {_WHOLE} END"),
        "long_title": ("long_title", "{0}"),
    },
}
# The same for columns that may be missing or empty.
_OPTIONAL: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "patients": {
        "anchor_year_group": (
            f"try_cast({GROUP % 1} AS BIGINT) AS group_first",
            f"try_cast({GROUP % 2} AS BIGINT) AS group_last",
        )
    }
}
_MEANING = {_WHOLE: "whole number", _YEAR: "date and time"}


def find_tables(folder: Path) -> dict[str, Table]:
    """Find the four tables and check their headers.

    Raises:
        UserError: see `deepicd.data.tables.find`.
    """
    return {name: find(folder, name, tuple(columns)) for name, columns in _TABLES.items()}


def load(connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table]) -> None:
    """Load and check the tables, and create table `principal` (hadm_id, code; code is null if all are ICD-9).

    The principal diagnosis is the ICD-10 row of an admission with the lowest seq_num. Rows may be in any order.

    Raises:
        UserError: a value is not the number or date it must be, an id occurs twice, or diagnoses and admissions name
            different patients for an admission.
    """
    for name, table in tables.items():
        _load(connection, name, table)
    _check_unique(connection, tables["admissions"], "admissions", "hadm_id")
    _check_unique(connection, tables["patients"], "patients", "subject_id")
    strange = connection.execute(
        "SELECT count(*), min(d.hadm_id) FROM diagnoses_icd d JOIN admissions a USING (hadm_id) "
        "WHERE d.subject_id <> a.subject_id"
    ).fetchone()
    if strange is not None and strange[0]:
        raise UserError(
            f"{tables['diagnoses_icd'].path}: {strange[0]} rows assign an admission to another patient than admissions "
            f"does, first hadm_id {strange[1]}: use tables of one release"
        )
    connection.execute(
        "CREATE TABLE principal AS SELECT hadm_id, arg_min(code, (seq_num, code)) FILTER (version = 10) AS code "
        "FROM diagnoses_icd GROUP BY hadm_id"
    )


def _load(connection: duckdb.DuckDBPyConnection, name: str, table: Table) -> None:
    columns = _TABLES[name]
    selected = ", ".join(
        [f"{read.format(column)} AS {loaded}" for column, (loaded, read) in columns.items()]
        + [
            one.format(column if column in table.columns else "NULL")
            for column, several in _OPTIONAL.get(name, {}).items()
            for one in several
        ]
    )
    with reading(table.path):
        connection.execute(f"CREATE TABLE {name} AS SELECT {selected} FROM {table.sql}")
    unread = ", ".join(f"count(*) FILTER ({loaded} IS NULL)" for loaded, _ in columns.values())
    counts = connection.execute(f"SELECT {unread} FROM {name}").fetchone() or ()
    for (column, (_, read)), count in zip(columns.items(), counts, strict=True):
        if count and column != "long_title":
            raise UserError(
                f"{table.path}: column {column} has no {_MEANING.get(read, 'valid value')} in {count} rows: "
                "the table is cut off or was changed: download it again"
            )


def _check_unique(connection: duckdb.DuckDBPyConnection, table: Table, name: str, column: str) -> None:
    twice = connection.execute(
        f"SELECT count(*), min({column}) FROM (SELECT {column} FROM {name} GROUP BY {column} HAVING count(*) > 1)"
    ).fetchone()
    if twice is not None and twice[0]:
        raise UserError(f"{table.path}: {twice[0]} values of {column} occur twice, first {twice[1]}: remove the copies")
