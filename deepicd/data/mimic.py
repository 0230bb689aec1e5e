"""Extracts a split cohort of admission notes from MIMIC-IV tables and discharge summaries.

The summaries are streamed once: their admission sections go to a scratch file. The other tables are joined on integer ids in
DuckDB, which spills to disk. Memory does not grow with the tables.
"""
# ruff: noqa: S608 - the SQL put into queries is a constant

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd.data import cohort, discharge, selection
from deepicd.data import hosp as hosp_tables
from deepicd.data.atomic_output import atomic_output
from deepicd.data.cohort import Cohort
from deepicd.data.tables import connect, database
from deepicd.data.years import FISCAL_YEARS
from deepicd.spec.data import SplitSpec

if TYPE_CHECKING:
    import duckdb

DATA_SOURCE = "mimic-iv"


def extract(hosp: Path, note: Path, out: Path, split: SplitSpec) -> Cohort:
    """Write `train.parquet`, `validation.parquet`, `test.parquet`, `sources.parquet` and `cohort.json` to `out`.

    Args:
        hosp: folder with admissions, patients, diagnoses_icd and d_icd_diagnoses (.csv or .csv.gz).
        note: folder with discharge (.csv or .csv.gz).
        out: created if missing; its files are replaced only when all new ones are complete.
        split: shares of the patients, and the seed of their order.

    Raises:
        UserError: a table or column is missing, a table is cut off, or a value is not the number or date it must be; notes or
            diagnoses have other patients than admissions; the cohort or a split is empty; the disk is full.
    """
    tables = hosp_tables.find_tables(hosp)
    table = discharge.find_table(note)
    with atomic_output(out, last=cohort.FILE) as work:
        scratch = work / ".scratch"
        scratch.mkdir()
        connection = connect(scratch)
        with closing(connection), database():
            hosp_tables.load(connection, tables)
            _list_candidates(connection)
            summaries = discharge.extract_sections(connection, table, scratch / selection.EXTRACTED)
            origin = selection.Origin(
                DATA_SOURCE, summaries.read, summaries.set_aside, "check that hosp and note are of one MIMIC-IV release"
            )
            result = selection.finish(connection, work, origin, split)
        result.write(work / cohort.FILE)
    return result


def look_at_hosp(folder: Path) -> None:
    """Look for the four tables, and at their headers. Raises: UserError: see `deepicd.data.tables.find`."""
    hosp_tables.find_tables(folder)


def look_at_note(folder: Path) -> None:
    """Look for the table of summaries, and at its header. Raises: UserError: see `deepicd.data.tables.find`."""
    discharge.find_table(folder)


def _list_candidates(connection: duckdb.DuckDBPyConnection) -> None:
    """Create tables `candidates` and `people` of `deepicd.data.selection`. `eligible`: no reason to drop it so far."""
    titled = "code IN (SELECT code FROM d_icd_diagnoses WHERE version = 10)"
    distinct = f"SELECT code, {titled} FROM (SELECT DISTINCT code FROM principal WHERE code IS NOT NULL)"
    codes = connection.execute(distinct).fetchall()
    connection.execute("CREATE TABLE code_reasons (code VARCHAR, reason VARCHAR, local BOOLEAN)")
    for code, has_title in codes:
        reason, local = selection.reason_and_local(code, titled=has_title)
        if reason is not None or local:
            connection.execute("INSERT INTO code_reasons VALUES (?, ?, ?)", [code, reason, local])
    connection.execute(
        f"""
        CREATE TABLE candidates AS
        SELECT a.hadm_id AS id, a.subject_id, p.code, patients.sex, coalesce(r.local, false) AS local_code,
               NOT ({titled.replace("code IN", "p.code IN")}) AS untitled, {FISCAL_YEARS} AS fiscal_years,
               CASE WHEN p.hadm_id IS NULL THEN 'no_diagnosis'
                    WHEN p.code IS NULL THEN 'no_icd10_diagnosis'
                    WHEN patients.subject_id IS NULL THEN 'no_patient'
                    ELSE r.reason END AS reason,
               reason IS NULL AS eligible
        FROM admissions a LEFT JOIN principal p USING (hadm_id)
             LEFT JOIN patients ON patients.subject_id = a.subject_id
             LEFT JOIN code_reasons r ON r.code = p.code
        """
    )
    connection.execute(
        """
        CREATE VIEW people AS
        SELECT a.hadm_id AS id, p.sex, p.anchor_age + a.admit_year - p.anchor_year AS age, a.race, a.insurance, a.language
        FROM admissions a JOIN patients p USING (subject_id)
        """
    )
