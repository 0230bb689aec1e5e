"""The counts of an extraction."""

from __future__ import annotations

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
    with pytest.raises(UserError, match=r"cohort\.json: missing: give a folder that `deepicd data mimic` has written"):
        cohort.read(tmp_path)


@pytest.mark.parametrize(
    "content", ["{", "[]", "{}", '{"splits": {"train": {"rows": 1}}}', '{"splits": {}}', '{"sections": 3}']
)
def test_other_content_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / cohort.FILE).write_text(content)
    with pytest.raises(UserError, match="not the counts of a cohort"):
        cohort.read(tmp_path)


def test_an_empty_cohort_is_refused_with_its_reasons() -> None:
    with pytest.raises(UserError, match=r"\(2 no discharge summary; 1 coded in ICD-9 only\)"):
        cohort.check_not_empty({"no_note": 2, "empty_note": 0, "no_icd10_diagnosis": 1}, 0, {})


def test_an_empty_split_is_refused_by_name() -> None:
    with pytest.raises(UserError, match=r"data\.split\.test"):
        cohort.check_not_empty({}, 2, {"train": 2, "test": 0})


def test_a_cohort_with_all_splits_passes() -> None:
    cohort.check_not_empty({"no_note": 2}, 2, {"train": 1, "test": 1})
