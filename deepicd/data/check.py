"""Checks an extracted cohort before training."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from deepicd import icd10, prompt
from deepicd.data import cohort, leaks, rows, sources
from deepicd.data.cohort import Cohort
from deepicd.data.splits import SPLITS
from deepicd.data.tables import reading
from deepicd.errors import UserError

PERCENTILES = (5, 50, 95, 99, 100)
_BATCH = 1024
_SUSPECTED = 0.02  # share of notes that may be flagged by chance; above it, notes were probably cut wrongly


@dataclass(slots=True)
class SplitReport:
    """One split: sizes, labels, note lengths, and how often a note reveals its answer.

    `code_named` / `title_named`: notes that contain the gold code / its whole official title.
    `leaks`: ids of notes with a sign of text from after admission, by kind (`deepicd.data.leaks.KINDS`).
    `foreign_prompts`: prompts that differ from those of this version of DeepICD.
    """

    admissions: int = 0
    patients: set[str] = field(default_factory=set)
    codes: Counter[str] = field(default_factory=Counter)
    characters: array[int] = field(default_factory=lambda: array("q"))
    words: array[int] = field(default_factory=lambda: array("q"))
    code_named: int = 0
    title_named: int = 0
    leaks: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in leaks.KINDS})
    foreign_prompts: int = 0

    @property
    def suspected(self) -> int:
        """Notes with a sign of any kind."""
        return len(set().union(*self.leaks.values()))


@dataclass(frozen=True, slots=True)
class Report:
    """The output of `deepicd data check`.

    `problems`: what must be fixed before training; empty for a good cohort.
    `with_sources`: whether the notes were compared with the texts they were cut from.
    """

    cohort: Cohort
    splits: Mapping[str, SplitReport]
    patient_overlap: int
    chapters: Mapping[int, Mapping[str, int]]
    with_sources: bool
    problems: Sequence[str]


def check(folder: Path, source: sources.Source | None = None) -> Report:
    """Read a cohort's files in batches and look for problems.

    Args:
        folder: written by `deepicd data mimic` or `deepicd data notes`.
        source: the notes it was extracted from; None: the notes are checked without it.

    Raises:
        UserError: a file is missing, damaged or lacks a column; the source lacks a note of the cohort.
    """
    counts = cohort.read(folder)
    reports = {name: _split(folder / f"{name}.parquet") for name in SPLITS}
    if source is not None:
        for name, admission, kinds in sources.compare(folder, source):
            for kind in kinds:
                reports[name].leaks[kind].append(admission)
    overlap = len(set().union(*(one.patients & two.patients for one, two in combinations(reports.values(), 2))))
    chapters: dict[int, dict[str, int]] = {}
    for name, report in reports.items():
        for code, number in report.codes.items():
            if icd10.is_billable(code):
                of_chapter = chapters.setdefault(icd10.chapter(code), dict.fromkeys(SPLITS, 0))
                of_chapter[name] += number
    problems = _problems(counts, reports, overlap)
    return Report(counts, reports, overlap, dict(sorted(chapters.items())), source is not None, problems)


def to_json(report: Report) -> dict[str, Any]:
    """The report as `deepicd data check --json` prints it."""
    return {
        "cohort": asdict(report.cohort),
        "splits": {name: _split_json(split) for name, split in report.splits.items()},
        "patient_overlap": report.patient_overlap,
        "chapters": {str(number): dict(counts) for number, counts in report.chapters.items()},
        "compared_with_source": report.with_sources,
        "problems": list(report.problems),
    }


def _split_json(split: SplitReport) -> dict[str, Any]:
    lengths = {"words": split.words, "characters": split.characters}
    return {
        "admissions": split.admissions,
        "patients": len(split.patients),
        "codes": dict(split.codes.most_common()),
        **{unit: dict(zip(map(str, PERCENTILES), percentiles(values), strict=True)) for unit, values in lengths.items()},
        "code_named": split.code_named,
        "title_named": split.title_named,
        "leaks": split.leaks,
        "foreign_prompts": split.foreign_prompts,
    }


def percentiles(lengths: Sequence[int]) -> list[int]:
    """The nearest-rank percentiles of PERCENTILES; zeros for no lengths."""
    ordered = sorted(lengths)
    return [ordered[max(0, -(-len(ordered) * share // 100) - 1)] if ordered else 0 for share in PERCENTILES]


def _split(path: Path) -> SplitReport:
    report = SplitReport()
    for row in _rows(path):
        note, code = row["prompt"][-1]["content"], row["code"]
        report.admissions += 1
        report.patients.add(str(row["subject_id"]))
        report.codes[code] += 1
        report.characters.append(len(note))
        report.words.append(len(note.split()))
        report.code_named += names_code(note, code)
        report.title_named += names_title(note, code)
        for kind in leaks.signs(note):
            report.leaks[kind].append(str(row["id"]))
        report.foreign_prompts += row["prompt"] != prompt.messages(note) or row["reward_model"]["ground_truth"] != code
    return report


def names_code(note: str, code: str) -> bool:
    """Whether a note contains the code, with or without its dot."""
    return re.search(rf"\b(?:{re.escape(code)}|{re.escape(icd10.display(code))})\b", note) is not None


def names_title(note: str, code: str) -> bool:
    """Whether a note contains the whole official title of the code."""
    return icd10.is_valid(code) and icd10.description(code).lower() in " ".join(note.lower().split())


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    source, key = _open(path)
    with reading(path):
        for batch in source.iter_batches(_BATCH, columns=["prompt", "reward_model", "code", "subject_id", key]):
            for row in batch.to_pylist():
                yield row | {"id": row[key]}


def look(folder: Path) -> None:
    """Look for a cohort's three splits, and at their columns.

    Raises:
        UserError: a file is missing, damaged, empty or lacks a column.
    """
    for name in SPLITS:
        source, _ = _open(path := folder / f"{name}.parquet")
        if not source.metadata.num_rows:
            raise UserError(f"{path}: has no admissions: a run needs some in each split")


def _open(path: Path) -> tuple[Any, str]:
    """A split's file (a pyarrow ParquetFile) and the name of its column of ids."""
    import pyarrow.parquet as pq

    if not path.is_file():
        raise UserError(f"{path}: missing: run {cohort.WRITERS} again")
    with reading(path):
        source = pq.ParquetFile(path)
        names = source.schema_arrow.names
        key = rows.key(names)
        missing = [name for name in rows.schema().names if name not in names and not (name == "id" and key in names)]
    if missing:
        raise UserError(f"{path}: column {', '.join(missing)} is missing: run {cohort.WRITERS} again")
    return source, key


def _problems(counts: Cohort, reports: Mapping[str, SplitReport], overlap: int) -> list[str]:
    problems = []
    if overlap:
        problems.append(f"{overlap} patients are in more than one split")
    for name, report in reports.items():
        if report.admissions != counts.splits[name].admissions:
            problems.append(f"{name}.parquet has {report.admissions} rows, {cohort.FILE} says {counts.splits[name].admissions}")
        if report.leaks["header"]:
            problems.append(f"{name}: {len(report.leaks['header'])} notes hold a section written after admission")
        elif report.suspected > _SUSPECTED * report.admissions:
            problems.append(f"{name}: {report.suspected} notes show signs of text from after admission")
        if report.foreign_prompts:
            problems.append(f"{name}: {report.foreign_prompts} prompts differ from those of this version")
        unknown = sum(
            number for code, number in report.codes.items() if not (icd10.is_billable(code) or code in counts.local_codes)
        )
        if unknown:
            problems.append(f"{name}: {unknown} codes are not billable codes of the ICD-10-CM table")
    if counts.admissions != counts.kept + sum(counts.dropped.values()):
        problems.append(f"{cohort.FILE}: admissions are not the sum of those kept and dropped")
    return problems
