"""Selects and splits a cohort from extracted notes and writes it, for MIMIC-IV and the user's own notes alike.

A source provides two tables and the scratch file of `deepicd.data.extracted`. `candidates` has every admission: id,
subject_id, code, sex, local_code (whether the code is the hospital's own), untitled (the source has no title for the code),
fiscal_years (first and last, or null), and reason (to drop it before its note is considered, or null). `people` has id, sex,
age, race, insurance, language. Ids are whole numbers or text, of the same type everywhere.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd import icd10
from deepicd.completion import Fault, fault_of
from deepicd.data import cohort, headers, rows, splits
from deepicd.data.cohort import Cohort, SectionCounts, SplitCounts
from deepicd.spec.data import SplitSpec

if TYPE_CHECKING:
    import duckdb

EXTRACTED = "notes.parquet"
"""Name of the scratch file."""
_SHOWN_CODES = 20
_REASONS = {Fault.UNKNOWN_CODE: "unknown_code", Fault.NOT_BILLABLE: "not_billable_code"}


@dataclass(frozen=True, slots=True)
class Origin:
    """Facts about a source."""

    data_source: str
    """Name of the source in the rows."""
    notes: int
    """Number of notes that were read."""
    set_aside: Mapping[str, int]
    """Number of notes that were set aside, by reason."""
    remedy: str
    """What to do if no admission is kept, for the message."""


def reason_and_local(code: str, *, titled: bool = False) -> tuple[str | None, bool]:
    """Why an admission with this principal code is dropped (of `cohort.REASONS`; None: kept), and whether the code is local.

    A code that was billable in any release is kept. So is a local code: the hospital has a title for it (`titled`), no release
    has it, and it has the form of a code, so that an answer can name it.
    """
    fault = fault_of(code, local=titled)
    if fault is not None:
        return _REASONS[fault], False
    return None, not icd10.is_billable(code)


def finish(connection: duckdb.DuckDBPyConnection, work: Path, origin: Origin, split: SplitSpec | None) -> Cohort:
    """Select the cohort, split it, and write all its files except `cohort.json`.

    Args:
        connection: database with the tables above.
        work: the folder to write to; its folder `.scratch` has EXTRACTED.
        origin: the source, for the counts and the rows.
        split: None if `people` has a column split, with one value for all admissions of a patient.

    Raises:
        UserError: the cohort or a split is empty.
    """
    extracted = work / ".scratch" / EXTRACTED
    _decide(connection, extracted)
    if split is None:
        splits.take(connection)
    else:
        splits.assign(connection, split)
    result = _count(connection, origin, extracted, split)
    cohort.check_not_empty(result, origin.remedy)
    rows.write(connection, extracted, work, origin.data_source)
    rows.write_sources(connection, extracted, work / rows.SOURCES)
    return result


def _decide(connection: duckdb.DuckDBPyConnection, extracted: Path) -> None:
    """Create tables `fates`, with one reason or null for every admission, and `cohort`, with the kept admissions.

    Of several summaries of one stay, the one with the lowest note_seq among those with an admission note counts.
    """
    connection.execute(
        """
        CREATE TABLE fates AS
        WITH first AS (
            SELECT id, bool_or(unbroken) AS unbroken,
                   arg_min(struct_pack(place, sex, empty := note IS NULL), (note IS NULL, note_seq, place)) AS summary
            FROM read_parquet($notes) GROUP BY id
        )
        SELECT c.id, c.subject_id, c.code, c.local_code, c.untitled, c.fiscal_years, f.summary.place AS place,
               c.sex IN ('F', 'M') AND f.summary.sex <> c.sex AS other_sex,
               CASE WHEN c.reason IS NOT NULL THEN c.reason
                    WHEN f.id IS NULL THEN 'no_note'
                    WHEN f.summary.empty AND f.unbroken THEN 'note_without_line_breaks'
                    WHEN f.summary.empty THEN 'empty_note' END AS reason
        FROM candidates c LEFT JOIN first f USING (id)
        """,
        {"notes": str(extracted)},
    )
    connection.execute(
        "CREATE TABLE cohort AS SELECT id, subject_id, code, local_code, untitled, fiscal_years, place FROM fates "
        "WHERE reason IS NULL"
    )
    connection.execute(
        "CREATE TABLE later AS SELECT count(*) - count(DISTINCT id) AS number FROM read_parquet($notes)",
        {"notes": str(extracted)},
    )


def _count(connection: duckdb.DuckDBPyConnection, origin: Origin, extracted: Path, split: SplitSpec | None) -> Cohort:
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
        "SELECT code, count(*) FROM fates WHERE reason IN ('unknown_code', 'not_billable_code') AND code IS NOT NULL "
        "GROUP BY code ORDER BY count(*) DESC, code LIMIT $shown",
        {"shown": _SHOWN_CODES},
    ).fetchall()
    local = connection.execute(
        "SELECT code, count(*) FROM cohort WHERE local_code GROUP BY code ORDER BY count(*) DESC, code"
    ).fetchall()
    years_known, outside = _outside_years(connection)
    return Cohort(
        admissions=number("SELECT count(*) FROM candidates"),
        patients=number("SELECT count(DISTINCT subject_id) FROM candidates"),
        notes=origin.notes,
        kept=number("SELECT count(*) FROM cohort"),
        dropped={name: int(reasons.get(name, 0)) for name in cohort.REASONS},
        notes_set_aside={**origin.set_aside, "later_of_same_stay": number("SELECT number FROM later")},
        other_sex=number("SELECT count(*) FROM fates WHERE reason IS NULL AND other_sex"),
        sections=_count_sections(connection, extracted),
        unknown_codes=dict(unknown),
        codes_without_title=number("SELECT count(DISTINCT code) FROM cohort WHERE untitled"),
        codes=number("SELECT count(DISTINCT code) FROM cohort"),
        splits={name: split_counts.get(name, SplitCounts(0, 0, 0, 0)) for name in splits.SPLITS},
        shares={} if split is None else splits.shares(split),
        seed=None if split is None else split.seed,
        versions={name: version(name) for name in ("deepicd", "duckdb", "pyarrow")},
        local_codes=dict(local),
        years_known=years_known,
        outside_years=outside.total(),
        outside_years_codes=dict(sorted(outside.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN_CODES]),
    )


def _outside_years(connection: duckdb.DuckDBPyConnection) -> tuple[int, Counter[str]]:
    """Number of admissions with known years, and, by code, of those in whose years the code was never billable."""
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
