"""`spec.data`: where the cohort comes from and how it is split."""

from __future__ import annotations

from pydantic import Field

from deepicd.spec.base import SpecModel
from deepicd.spec.rules import adds_up, at_default, exactly_one, given, never, requires


class MimicSource(SpecModel):
    """The MIMIC-IV v3.1 and MIMIC-IV-Note v2.2 folders, .csv or .csv.gz."""

    hosp: str
    """Folder with admissions, patients, diagnoses_icd, d_icd_diagnoses."""
    note: str
    """Folder with discharge."""


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
    """The cohort: exactly one of `mimic`, `synthetic`, `prepared`."""

    mimic: MimicSource | None = None
    """Extract the cohort from the real tables."""
    synthetic: SyntheticSource | None = None
    """Make tables of the same shape, and extract the cohort from them."""
    prepared: str | None = None
    """Folder written by `deepicd data mimic`, used as it is."""
    traces: str | None = None
    """JSON-lines file of `{"hadm_id": …, "trace": …}` for SFT; synthetic data bring their own."""
    split: SplitSpec = SplitSpec()
    """Shares of patients; a prepared folder is split already."""

    rules = (
        exactly_one("mimic", "synthetic", "prepared"),
        requires("prepared", at_default("split", SplitSpec()), "split: a prepared folder is split already: remove the field"),
        requires("synthetic", never(given("traces")), "traces: synthetic data bring their own: remove the field"),
    )
