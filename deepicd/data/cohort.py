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

REASONS: Mapping[str, str] = {
    "no_diagnosis": "no coded diagnosis",
    "no_icd10_diagnosis": "coded in ICD-9 only",
    "no_patient": "patient missing from patients",
    "unknown_code": "principal code neither in ICD-10-CM nor in d_icd_diagnoses",
    "not_billable_code": "principal code a header in every release of ICD-10-CM",
    "no_note": "no discharge summary",
    "note_without_line_breaks": "discharge summary without line breaks",
    "empty_note": "complaint, present illness and history all empty",
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
    `sections`: what the kept notes have, and what was cut out of them, by section.
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
    seed: int
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
        raise UserError(f"{path}: missing: give a folder that `deepicd data mimic` has written to its end") from None
    except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError):
        raise UserError(f"{path}: not the counts of a cohort: run `deepicd data mimic` again") from None


def check_not_empty(dropped: Mapping[str, int], kept: int, splits: Mapping[str, int]) -> None:
    """Refuse a cohort that cannot be trained on.

    Raises:
        UserError: no admission is left, or a split is empty.
    """
    if kept == 0:
        why = "; ".join(f"{count} {REASONS[name]}" for name, count in dropped.items() if count) or "no admissions"
        raise UserError(f"the cohort is empty ({why}): check that hosp and note are of one MIMIC-IV release")
    for name, count in splits.items():
        if count == 0:
            raise UserError(f"data.split.{name}: no patient falls into it ({kept} admissions): use more or raise its share")
