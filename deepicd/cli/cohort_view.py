"""A cohort and its check as tables of at most 80 columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.padding import Padding
from rich.table import Table

from deepicd import icd10
from deepicd.cli.narrow_console import narrow_console
from deepicd.data.cohort import REASONS, Cohort
from deepicd.data.splits import SPLITS

if TYPE_CHECKING:
    from deepicd.data.check import Report

_TEXT = 32
_TOP_CODES = 10
_SHOWN_IDS = 5
_SIGNS = {
    "header": "header of a later section (must be 0)",
    "title": "word of the title that only the later part has",
    "passage": "five words that only the later part has",
}


def print_cohort(cohort: Cohort) -> None:
    """Print what was kept and dropped, and the splits."""
    console = narrow_console()
    console.print(_fates(cohort))
    table = Table("split", title="Splits", title_justify="left")
    for heading in ("admissions", "patients", "codes", "codes not in train"):
        table.add_column(heading, justify="right")
    for name, counts in cohort.splits.items():
        sizes = (counts.admissions, counts.patients, counts.codes, counts.codes_not_in_train)
        table.add_row(name, *(f"{size:,}" for size in sizes))
    console.print(table)


def print_report(report: Report) -> None:
    """Print the whole check."""
    print_cohort(report.cohort)
    console = narrow_console()
    console.print(_chapters(report))
    console.print(_top_codes(report))
    console.print(_lengths(report))
    console.print(_leakage(report))
    for line in _suspects(report):
        console.print(line, highlight=False)
    for problem in report.problems:
        console.print(f"[red]problem:[/red] {problem}", highlight=False)
    if not report.problems:
        console.print("no problems found")


def _fates(cohort: Cohort) -> Table:
    table = Table("admissions", title="Cohort", title_justify="left")
    table.add_column("count", justify="right")
    table.add_row("read", f"{cohort.admissions:,}")
    for name, count in cohort.dropped.items():
        if count:
            table.add_row(_below(f"dropped: {REASONS.get(name, name)}"), f"{count:,}")
    table.add_row("kept", f"{cohort.kept:,}", end_section=True)
    table.add_row("notes read", f"{cohort.notes:,}")
    for name, count in cohort.notes_set_aside.items():
        if count:
            table.add_row(_below(f"set aside: {name.replace('_', ' ')}"), f"{count:,}")
    for name, section in cohort.sections.items():
        if section.notes_cut:
            table.add_row(_below(f"text of the stay cut out of: {name}"), f"{section.notes_cut:,}")
    if cohort.other_sex:
        table.add_row("notes kept that name another sex than their patient's", f"{cohort.other_sex:,}")
    if cohort.unknown_codes:
        named = ", ".join(list(cohort.unknown_codes)[:5])
        table.add_row(f"codes that no release has as billable, such as {named}", f"{len(cohort.unknown_codes):,}")
    if cohort.local_codes:
        named = ", ".join(list(cohort.local_codes)[:5])
        count = sum(cohort.local_codes.values())
        table.add_row(f"kept with a code of d_icd_diagnoses that no release has, such as {named}", f"{count:,}")
    if cohort.years_known:
        table.add_row("kept, and the years they can be in are known", f"{cohort.years_known:,}")
        named = ", ".join(map(icd10.display, list(cohort.outside_years_codes)[:5]))
        such = f", such as {named}" if named else ""
        table.add_row(_below(f"their code was billable in none of these years{such}"), f"{cohort.outside_years:,}")
    if cohort.codes_without_title:
        table.add_row("codes without a title in d_icd_diagnoses", f"{cohort.codes_without_title:,}")
    return table


def _below(text: str) -> Padding:
    """A row that belongs to the one above it; every line of it is indented."""
    return Padding(text, (0, 0, 0, 2))


def _chapters(report: Report) -> Table:
    table = Table(title="Chapters", title_justify="left")
    table.add_column("", justify="right")
    table.add_column("chapter", no_wrap=True, overflow="ellipsis", max_width=_TEXT)
    for name in SPLITS:
        table.add_column(name, justify="right")
    for number, counts in report.chapters.items():
        table.add_row(str(number), icd10.chapter_title(number), *(f"{counts[name]:,}" for name in SPLITS))
    return table


def _top_codes(report: Report) -> Table:
    table = Table(title="Most frequent codes (share of the split)", title_justify="left")
    table.add_column("code")
    table.add_column("description", no_wrap=True, overflow="ellipsis", max_width=_TEXT)
    for name in SPLITS:
        table.add_column(name, justify="right")
    for code, _ in sorted(report.splits["train"].codes.items(), key=lambda pair: (-pair[1], pair[0]))[:_TOP_CODES]:
        shares = (_share(split.codes[code], split.admissions) for split in report.splits.values())
        described = icd10.description(code) if icd10.is_valid(code) else "in no release of ICD-10-CM"
        table.add_row(icd10.display(code), described, *shares)
    return table


def _lengths(report: Report) -> Table:
    from deepicd.data.check import PERCENTILES, percentiles

    table = Table("length of the note", title="Lengths, percentiles", title_justify="left")
    for share in PERCENTILES:
        table.add_column("max" if share == 100 else f"{share} %", justify="right")
    for name, split in report.splits.items():
        for unit, values in (("words", split.words), ("characters", split.characters)):
            table.add_row(f"{name}, {unit}", *(f"{value:,}" for value in percentiles(values)))
    return table


def _leakage(report: Report) -> Table:
    from deepicd.data.leaks import KINDS

    table = Table("notes that give the answer away", title="Leakage", title_justify="left")
    for name in SPLITS:
        table.add_column(name, justify="right")
    splits = report.splits.values()
    for kind in KINDS:
        if kind in {"title", "passage"} and not report.with_sources:
            continue
        table.add_row(_SIGNS.get(kind, f"sign of later text: {kind}"), *(f"{len(split.leaks[kind]):,}" for split in splits))
    table.add_row("gold code in the note", *(_share(split.code_named, split.admissions) for split in splits))
    table.add_row("its whole title in the note", *(_share(split.title_named, split.admissions) for split in splits))
    table.add_row("patients in several splits (must be 0)", f"{report.patient_overlap:,}", "", "")
    return table


def _suspects(report: Report) -> list[str]:
    """The first admissions to look at, by kind of sign."""
    lines = []
    for name, split in report.splits.items():
        for kind, ids in split.leaks.items():
            if ids:
                more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
                lines.append(f"{name}, {kind}: id {', '.join(ids[:_SHOWN_IDS])}{more}")
    if not report.with_sources:
        lines.append("not compared with the notes they were cut from: give them with --note")
    return lines


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.1f} %" if total else "–"
