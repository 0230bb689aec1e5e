"""`spec.data`: where the cohort comes from and how it is split."""

from __future__ import annotations

import difflib
from typing import Annotated, Literal

from pydantic import Field, field_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later
from deepicd.spec.rules import adds_up, at_default, exactly_one, given, never, read_by_field, requires


class MimicSource(SpecModel):
    """The MIMIC-IV v3.1 and MIMIC-IV-Note v2.2 folders, .csv or .csv.gz."""

    hosp: str
    """Folder with admissions, patients, diagnoses_icd, d_icd_diagnoses."""
    note: str
    """Folder with discharge."""


REQUIRED_NOTE_COLUMNS = ("id", "patient_id", "note", "code")
NOTE_COLUMNS = (*REQUIRED_NOTE_COLUMNS, "sex", "age", "race", "insurance", "language", "split")


class NotesSource(SpecModel):
    """Notes of your own, one admission a row."""

    file: str = Field(min_length=1)
    """A .parquet, .csv or .jsonl file (the last two also as .gz); a pattern such as `notes-*.parquet` names several.
    Columns: id (of the admission, each once), patient_id, note, code (principal ICD-10-CM diagnosis, with or without its dot),
    and if wanted sex, age (years), race, insurance, language, split (train, validation or test; in all rows or in none)."""
    columns: dict[str, Annotated[str, Field(min_length=1)]] = Field(default={}, max_length=len(NOTE_COLUMNS))
    """What the file calls a column, by its name above: `{note: text, code: icd10}`. Others have the same name."""
    sections: Literal["admission", "none"] = "admission"
    """`admission`: take the sections written at admission from discharge summaries, as from MIMIC-IV's. `none`: the notes were
    written at admission, and are taken as they are."""

    rules = (
        read_by_field(
            f"self.columns.all(name, name in {list(NOTE_COLUMNS)})",
            f"columns: a name is no column of notes: these are {', '.join(NOTE_COLUMNS)}",
        ),
    )

    @field_validator("columns")
    @classmethod
    def _columns_are_known(cls, given: dict[str, str]) -> dict[str, str]:
        for name in given:
            if name not in NOTE_COLUMNS:
                near = difflib.get_close_matches(name, NOTE_COLUMNS, n=1, cutoff=0.6)
                known = f"did you mean '{near[0]}'?" if near else f"the columns are {', '.join(NOTE_COLUMNS)}"
                raise ValueError(f"unknown column '{name}': {known}")
        return given


class SyntheticSource(SpecModel):
    """MIMIC-IV-shaped tables made by `deepicd data synthetic`, for trials and tests."""

    admissions: int = Field(default=2000, ge=1)
    """Number of admissions to make."""
    codes: int = Field(default=60, ge=2)
    """Number of distinct principal diagnoses, with long-tailed frequencies."""
    seed: int = Field(default=0, ge=0)
    """Seed of the generator: the same seed gives the same bytes."""


class SplitSpec(SpecModel):
    """Shares of the patients in each split; they add up to 1."""

    train: float = Field(default=0.7, gt=0, lt=1)
    """Share of patients to train on."""
    validation: float = Field(default=0.1, gt=0, lt=1)
    """Share of patients to follow training with."""
    test: float = Field(default=0.2, gt=0, lt=1)
    """Share of patients held out for the evaluation."""
    seed: int = Field(default=42, ge=0)
    """Seed of the split."""

    rules = (adds_up("train", "validation", "test", to=1, message="train + validation + test must be 1"),)


class DataSpec(SpecModel):
    """The cohort: exactly one of `mimic`, `notes`, `synthetic`, `prepared`."""

    mimic: MimicSource | None = None
    """Extract the cohort from the real tables."""
    notes: Later[NotesSource | None] = None
    """Make the cohort of notes of your own."""
    synthetic: SyntheticSource | None = None
    """Make tables of the same shape, and extract the cohort from them."""
    prepared: str | None = None
    """Folder written by `deepicd data mimic` or `deepicd data notes`, used as it is."""
    traces: str | None = None
    """JSON-lines file of `{"id": …, "trace": …}` for SFT; synthetic data bring their own."""
    split: SplitSpec = SplitSpec()
    """Shares of patients; a prepared folder is split already."""

    rules = (
        exactly_one("mimic", "notes", "synthetic", "prepared"),
        requires("prepared", at_default("split", SplitSpec()), "split: a prepared folder is split already: remove the field"),
        requires("synthetic", never(given("traces")), "traces: synthetic data bring their own: remove the field"),
    )
