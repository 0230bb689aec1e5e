"""MIMIC-IV tables and discharge summaries in, a split cohort of admission notes out.

The summaries are read once and streamed: their admission sections go to a scratch file, and everything else is joined
on integer ids inside DuckDB, which spills to disk. Memory does not grow with the tables.
"""
# ruff: noqa: S608 - the SQL put into queries is a constant

from __future__ import annotations

from collections import Counter
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd import icd10
from deepicd.completion import Fault, fault_of
from deepicd.data import cohort, headers, notes, rows, splits
from deepicd.data import hosp as hosp_tables
from deepicd.data.cohort import Cohort, SectionCounts, SplitCounts
from deepicd.data.output import together
from deepicd.data.tables import connect, database
from deepicd.data.years import FISCAL_YEARS
from deepicd.spec.data import SplitSpec

if TYPE_CHECKING:
    import duckdb

_SHOWN_CODES = 20
_REASONS = {Fault.UNKNOWN_CODE: "unknown_code", Fault.NOT_BILLABLE: "not_billable_code"}


def extract(hosp: Path, note: Path, out: Path, split: SplitSpec) -> Cohort:
    """Write `train.parquet`, `validation.parquet`, `test.parquet`, `sources.parquet` and `cohort.json` to `out`.

    Args:
        hosp: holds admissions, patients, diagnoses_icd, d_icd_diagnoses (.csv or .csv.gz).
        note: holds discharge.
        out: made when missing; its files are replaced only when all of the new ones are complete.
        split: shares of the patients and the seed of their order.

    Raises:
        UserError: a table or column is missing, cut off, or holds no number or date where one must be; notes or
            diagnoses carry other patients' ids than admissions; the cohort or a split is empty; the disk is full.
    """
    tables = hosp_tables.find_tables(hosp)
    discharge = notes.find_table(note)
    with together(out, last=cohort.FILE) as work:
        scratch = work / ".scratch"
        scratch.mkdir()
        extracted = scratch / "notes.parquet"
        connection = connect(scratch)
        with closing(connection), database():
            hosp_tables.load(connection, tables)
            _judge_codes(connection)
            summaries = notes.extract_sections(connection, discharge, extracted)
            _decide(connection, extracted)
            splits.assign(connection, split)
            result = _count(connection, summaries, extracted, split)
            cohort.check_not_empty(
                result.dropped, result.kept, {name: counts.admissions for name, counts in result.splits.items()}
            )
            rows.write(connection, extracted, work)
            rows.write_sources(connection, extracted, work / rows.SOURCES)
        result.write(work / cohort.FILE)
    return result


def _judge_codes(connection: duckdb.DuckDBPyConnection) -> None:
    """Make table `candidates`: every admission, its principal code, and why it is dropped as far as codes tell.

    A code that was billable in any release stays, and so does one of the hospital's own: d_icd_diagnoses has it, no
    release does, and an answer can name it, since it has the form of a code.
    """
    connection.execute("CREATE TABLE code_reasons (code VARCHAR, reason VARCHAR, local BOOLEAN)")
    codes = connection.execute(
        "SELECT code, code IN (SELECT code FROM d_icd_diagnoses WHERE version = 10) "
        "FROM (SELECT DISTINCT code FROM principal WHERE code IS NOT NULL)"
    ).fetchall()
    for code, titled in codes:
        fault = fault_of(code, local=titled)
        local = fault is None and not icd10.is_billable(code)
        reason = None if fault is None else _REASONS[fault]
        if fault is not None or local:
            connection.execute("INSERT INTO code_reasons VALUES (?, ?, ?)", [code, reason, local])
    connection.execute(
        f"""
        CREATE TABLE candidates AS
        SELECT a.hadm_id, a.subject_id, p.code, patients.sex, coalesce(r.local, false) AS local_code,
               {FISCAL_YEARS} AS fiscal_years,
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


def _decide(connection: duckdb.DuckDBPyConnection, extracted: Path) -> None:
    """Make tables `fates`, one reason (or none) for every admission, and `cohort`, the admissions that stay.

    Of several summaries of one stay the one with the lowest note_seq counts that holds something of the admission.
    """
    connection.execute(
        """
        CREATE TABLE fates AS
        WITH first AS (
            SELECT hadm_id, bool_or(unbroken) AS unbroken,
                   arg_min(struct_pack(place, sex, empty := note IS NULL), (note IS NULL, note_seq, place)) AS summary
            FROM read_parquet($notes) GROUP BY hadm_id
        )
        SELECT c.hadm_id, c.subject_id, c.code, c.local_code, c.fiscal_years, f.summary.place AS place,
               f.summary.sex <> c.sex AS other_sex,
               CASE WHEN c.reason IS NOT NULL THEN c.reason
                    WHEN f.hadm_id IS NULL THEN 'no_note'
                    WHEN f.summary.empty AND f.unbroken THEN 'note_without_line_breaks'
                    WHEN f.summary.empty THEN 'empty_note' END AS reason
        FROM candidates c LEFT JOIN first f USING (hadm_id)
        """,
        {"notes": str(extracted)},
    )
    connection.execute(
        "CREATE TABLE cohort AS SELECT hadm_id, subject_id, code, local_code, fiscal_years, place FROM fates "
        "WHERE reason IS NULL"
    )
    connection.execute(
        "CREATE TABLE later AS SELECT count(*) - count(DISTINCT hadm_id) AS number FROM read_parquet($notes)",
        {"notes": str(extracted)},
    )


def _count(connection: duckdb.DuckDBPyConnection, summaries: notes.Summaries, extracted: Path, split: SplitSpec) -> Cohort:
    def number(query: str) -> int:
        row = connection.execute(query).fetchone()
        return int(row[0]) if row is not None else 0

    reasons = dict(connection.execute("SELECT reason, count(*) FROM fates GROUP BY reason").fetchall())
    split_counts = {
        name: SplitCounts(*counts)
        for name, *counts in connection.execute(
            """
            WITH members AS (SELECT * FROM cohort JOIN splits USING (subject_id))
            SELECT split, count(*), count(DISTINCT subject_id), count(DISTINCT code),
                   count(DISTINCT code) FILTER (code NOT IN (SELECT code FROM members WHERE split = 'train'))
            FROM members GROUP BY split
            """
        ).fetchall()
    }
    unknown = connection.execute(
        "SELECT code, count(*) FROM fates WHERE reason IN ('unknown_code', 'not_billable_code') "
        "GROUP BY code ORDER BY count(*) DESC, code LIMIT $shown",
        {"shown": _SHOWN_CODES},
    ).fetchall()
    local = connection.execute(
        "SELECT code, count(*) FROM cohort WHERE local_code GROUP BY code ORDER BY count(*) DESC, code"
    ).fetchall()
    years_known, outside = _outside_years(connection)
    later = number("SELECT number FROM later")
    return Cohort(
        admissions=number("SELECT count(*) FROM admissions"),
        patients=number("SELECT count(DISTINCT subject_id) FROM admissions"),
        notes=summaries.read,
        kept=number("SELECT count(*) FROM cohort"),
        dropped={name: int(reasons.get(name, 0)) for name in cohort.REASONS},
        notes_set_aside={**summaries.set_aside, "later_of_same_stay": later},
        other_sex=number("SELECT count(*) FROM fates WHERE reason IS NULL AND other_sex"),
        sections=_count_sections(connection, extracted),
        unknown_codes=dict(unknown),
        codes_without_title=number(
            "SELECT count(DISTINCT code) FROM cohort WHERE code NOT IN (SELECT code FROM d_icd_diagnoses WHERE version = 10)"
        ),
        codes=number("SELECT count(DISTINCT code) FROM cohort"),
        splits={name: split_counts.get(name, SplitCounts(0, 0, 0, 0)) for name in splits.SPLITS},
        shares={"train": split.train, "validation": split.validation, "test": split.test},
        seed=split.seed,
        versions={name: version(name) for name in ("deepicd", "duckdb", "pyarrow")},
        local_codes=dict(local),
        years_known=years_known,
        outside_years=outside.total(),
        outside_years_codes=dict(sorted(outside.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN_CODES]),
    )


def _outside_years(connection: duckdb.DuckDBPyConnection) -> tuple[int, Counter[str]]:
    """The admissions whose years are known, and by code those that can be in no year in which it was billable."""
    known, outside = 0, Counter[str]()
    groups = connection.execute(
        "SELECT code, fiscal_years[1], fiscal_years[2], count(*) FROM cohort WHERE fiscal_years IS NOT NULL GROUP BY ALL"
    ).fetchall()
    for code, first, last, admissions in groups:
        other = icd10.is_of_other_years(code, range(first, last + 1))
        if other is not None:
            known += admissions
        if other:
            outside[code] += admissions
    return known, outside


def _count_sections(connection: duckdb.DuckDBPyConnection, extracted: Path) -> dict[str, SectionCounts]:
    counted = connection.execute(
        """
        WITH kept AS (SELECT spans, cut FROM read_parquet($notes) JOIN cohort USING (place)),
        there AS (
            SELECT section, count(*) AS notes
            FROM (SELECT unnest(list_distinct(list_transform(spans, lambda span: span.section))) AS section FROM kept)
            GROUP BY section
        ),
        gone AS (
            SELECT one.section AS section, count(*) AS notes, sum(one.characters) AS characters
            FROM (SELECT unnest(cut) AS one FROM kept) GROUP BY one.section
        )
        SELECT coalesce(there.section, gone.section), coalesce(there.notes, 0), coalesce(gone.notes, 0), coalesce(characters, 0)
        FROM there FULL JOIN gone USING (section)
        """,
        {"notes": str(extracted)},
    ).fetchall()
    found = {name: SectionCounts(*map(int, counts)) for name, *counts in counted}
    return {kind.value: found.get(kind.value, SectionCounts(0, 0, 0)) for kind in headers.ADMISSION}
