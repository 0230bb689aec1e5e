"""The counts of an extraction."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from deepicd.data import cohort
from deepicd.data.cohort import Cohort, SectionCounts, SplitCounts
from deepicd.errors import UserError

COHORT = Cohort(
    admissions=3,
    patients=2,
    notes=3,
    kept=2,
    dropped={"no_note": 1},
    notes_set_aside={},
    other_sex=0,
    sections={"Physical Exam": SectionCounts(2, 1, 30)},
    unknown_codes={},
    codes_without_title=0,
    codes=1,
    splits={"train": SplitCounts(1, 1, 1, 0), "validation": SplitCounts(0, 0, 0, 0), "test": SplitCounts(1, 1, 1, 0)},
    shares={"train": 0.7},
    seed=1,
    versions={"duckdb": "2"},
)


def test_counts_come_back_as_written(tmp_path: Path) -> None:
    COHORT.write(tmp_path / cohort.FILE)
    assert cohort.read(tmp_path) == COHORT


def test_missing_counts_name_their_file(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"cohort\.json: missing: give a folder that `deepicd data mimic` or `deepicd data notes` has written"
    ):
        cohort.read(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"splits": {"train": {"rows": 1}}}', '{"splits": {}}', '{"sections": 3}']
)
def test_other_content_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / cohort.FILE).write_text(content)
    with pytest.raises(UserError, match="not the counts of a cohort"):
        cohort.read(tmp_path)


def test_an_empty_cohort_is_refused_with_its_reasons_and_remedy() -> None:
    empty = replace(COHORT, kept=0, dropped={"no_note": 2, "empty_note": 0, "no_icd10_diagnosis": 1})
    with pytest.raises(UserError, match=r"\(2 no discharge summary; 1 coded in ICD-9 only\): look again"):
        cohort.check_not_empty(empty, "look again")


@pytest.mark.parametrize(
    ("shares", "remedy"), [({"test": 0.2}, "raise its share"), ({}, "mark some for it in the column split")]
)
def test_an_empty_split_is_refused_by_name(shares: dict[str, float], remedy: str) -> None:
    with pytest.raises(UserError, match=rf"data\.split\.validation: no patient falls into it.*{remedy}"):
        cohort.check_not_empty(replace(COHORT, shares=shares), "")


def test_a_cohort_with_all_splits_passes() -> None:
    cohort.check_not_empty(replace(COHORT, splits=dict.fromkeys(COHORT.splits, SplitCounts(1, 1, 1, 0))), "")
