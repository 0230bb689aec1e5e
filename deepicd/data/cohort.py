"""Counts of an extraction: how many admissions were kept or dropped, and why. Stored in `cohort.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepicd import atomic
from deepicd.data.splits import SPLITS
from deepicd.errors import UserError

FILE = "cohort.json"
WRITERS = "`deepicd data mimic` or `deepicd data notes`"
"""The commands that write a cohort, for messages."""

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
"""Reasons to drop an admission, in the order in which they are checked."""
BY_CHOICE = frozenset({"no_diagnosis", "no_icd10_diagnosis", "no_note"})
"""Those that the task implies: an admission without a diagnosis in ICD-10, or without a note, cannot be an example."""


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """Size of one split. `codes`: distinct codes; `codes_not_in_train`: those of them that the training split does not have."""

    admissions: int
    patients: int
    codes: int
    codes_not_in_train: int


@dataclass(frozen=True, slots=True)
class SectionCounts:
    """One section over all kept notes: notes that have it, notes where later text was cut out of it, and characters cut."""

    notes: int
    notes_cut: int
    characters_cut: int


@dataclass(frozen=True, slots=True)
class Cohort:
    """Counts of one extraction. `admissions` = `kept` + the sum of `dropped`.

    `other_sex`: kept notes whose head names another sex than the table of patients. Many of them mean mixed-up notes; a few
    are people whose record changed, so they are not dropped.
    `unknown_codes`: the most frequent of the dropped codes that were not billable in any release of ICD-10-CM.
    `local_codes`: kept codes that no release has, but the hospital's own d_icd_diagnoses does, with their admissions.
    `years_known`: kept admissions with fiscal years that the table covers. `outside_years`: those of them whose code was
    billable in none of these years; `outside_years_codes`: the most frequent of their codes.
    `sections`: counts over the kept notes, by section; zeros for notes that were taken as they are.
    `shares`, `seed`: parameters of the split; empty and null if the notes have a column with their splits.
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
        """Write the counts as JSON; the same counts give the same bytes."""
        atomic.write_json(path, asdict(self))


def read(folder: Path) -> Cohort:
    """Read the counts of an extracted folder.

    Raises:
        UserError: the file is missing or is not such JSON.
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
    """Refuse a cohort that cannot be trained on. `remedy`: what to do about an empty cohort, for the message.

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
