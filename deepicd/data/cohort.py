"""What became of every admission: the counts that `cohort.json` holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepicd.data.splits import SPLITS
from deepicd.errors import UserError

FILE = "cohort.json"
WRITERS = "`deepicd data mimic` or `deepicd data notes`"
"""What writes a cohort, for messages."""

REASONS: Mapping[str, str] = {
    "no_diagnosis": "no coded diagnosis",
    "no_icd10_diagnosis": "coded in ICD-9 only",
    "no_patient": "patient missing from patients",
    "unknown_code": "principal code in no release of ICD-10-CM, and no local one",
    "not_billable_code": "principal code a header in every release of ICD-10-CM",
    "no_note": "no discharge summary",
    "note_without_line_breaks": "note without line breaks",
    "empty_note": "note empty, or without complaint, present illness and history",
}
"""Why an admission is dropped, in the order in which the reasons are tried."""


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Size of one split; `codes` counts distinct codes, `codes_not_in_train` those that training never shows."""

    admissions: int
    patients: int
    codes: int
    codes_not_in_train: int


@dataclass(frozen=True, slots=True)
class SectionCounts:
    """One section over the kept notes: in how many it is, in how many text of the stay was cut out of it, how much."""

    notes: int
    notes_cut: int
    characters_cut: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Counts of one extraction. `admissions` = `kept` + the sum of `dropped`.

    `other_sex`: kept notes whose head names another sex than patients does; many of them mean mixed-up notes, a few
    are people whose record changed, so they are not dropped. `unknown_codes`: the most frequent codes among those
    dropped because no release of ICD-10-CM ever had them as billable.
    `local_codes`: the kept codes that no release has, but the hospital's own d_icd_diagnoses, with their admissions.
    `years_known`: kept admissions whose fiscal years the table knows; `outside_years`: those of them whose code was
    billable in none of these years, `outside_years_codes` the most frequent of their codes.
    `sections`: what the kept notes have, and what was cut out of them, by section; zeros for notes that are taken as they are.
    `shares`, `seed`: those of the split; empty and null where the notes say their splits themselves.
    """

    admissions: int
    patients: int
    notes: int
    kept: int
    dropped: Mapping[str, int]
    notes_set_aside: Mapping[str, int]
    other_sex: int
    sections: Mapping[str, SectionCounts]
    unknown_codes: Mapping[str, int]
    codes_without_title: int
    codes: int
    splits: Mapping[str, SplitCounts]
    shares: Mapping[str, float]
    seed: int | None
    versions: Mapping[str, str]
    local_codes: Mapping[str, int] = field(default_factory=dict)
    years_known: int = 0
    outside_years: int = 0
    outside_years_codes: Mapping[str, int] = field(default_factory=dict)

    def write(self, path: Path) -> None:
        """Write the counts as JSON, the same bytes for the same counts."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read(folder: Path) -> Cohort:
    """Read the counts of an extracted folder.

    Raises:
        UserError: the file is missing or is no such JSON.
    """
    path = folder / FILE
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        splits = {name: SplitCounts(**value["splits"][name]) for name in SPLITS}
        sections = {name: SectionCounts(**counts) for name, counts in value["sections"].items()}
        return Cohort(**{**value, "splits": splits, "sections": sections})
    except FileNotFoundError:
        raise UserError(f"{path}: missing: give a folder that {WRITERS} has written to its end") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not the counts of a cohort: run {WRITERS} again") from None


def check_not_empty(counts: Cohort, remedy: str) -> None:
    """Refuse a cohort that cannot be trained on, with what its source says to do about it.

    Raises:
        UserError: no admission is left, or a split is empty.
    """
    if counts.kept == 0:
        why = "; ".join(f"{count} {REASONS[name]}" for name, count in counts.dropped.items() if count) or "no admissions"
        raise UserError(f"the cohort is empty ({why}): {remedy}")
    for name, split in counts.splits.items():
        if split.admissions == 0:
            what = "raise its share" if counts.shares else "mark some for it in the column split"
            raise UserError(f"data.split.{name}: no patient falls into it ({counts.kept} admissions): use more or {what}")
