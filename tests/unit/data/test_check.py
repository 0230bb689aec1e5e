"""Checking an extracted cohort."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd.data import rows
from deepicd.data.check import check, look, names_code, names_title, percentiles
from deepicd.errors import UserError

if TYPE_CHECKING:
    from tests.unit.data.conftest import Hospital


@pytest.fixture
def cohort(hospital: Hospital) -> Path:
    hospital.admit(7, 8, codes=[(1, "I2510", 10)])
    hospital.write().extract()
    return hospital.folder / "out"


def change(path: Path, edit: Callable[[list[dict[str, Any]]], None]) -> None:
    table = pq.read_table(path).to_pylist()
    edit(table)
    pq.write_table(pa.Table.from_pylist(table, schema=rows.schema()), path)


def say(row: dict[str, Any], note: str) -> None:
    row["prompt"][-1]["content"] = note


def test_a_good_cohort_has_no_problems(cohort: Path) -> None:
    report = check(cohort)
    assert report.problems == []
    assert report.patient_overlap == 0
    assert sum(split.admissions for split in report.splits.values()) == 31


def test_labels_are_counted_by_chapter_and_split(cohort: Path) -> None:
    report = check(cohort)
    assert set(report.chapters) == {9, 13}
    assert sum(report.chapters[9].values()) == 1
    assert report.chapters[13]["train"] == report.splits["train"].codes["M5116"]


def test_lengths_are_those_of_the_note_alone(cohort: Path) -> None:
    split = check(cohort).splits["train"]
    assert set(split.characters) == {len("Chief Complaint: back pain")}
    assert set(split.words) == {4}


def test_a_patient_in_two_splits_is_a_problem(cohort: Path) -> None:
    subject = pq.read_table(cohort / "train.parquet").column("subject_id")[0].as_py()
    change(cohort / "test.parquet", lambda table: table[0].update(subject_id=subject))
    report = check(cohort)
    assert report.patient_overlap == 1
    assert "1 patients are in more than one split" in report.problems


def test_a_later_section_in_a_note_is_a_problem(cohort: Path) -> None:
    change(cohort / "test.parquet", lambda table: say(table[0], "Chief Complaint: x\nDischarge Diagnosis: y"))
    assert check(cohort).problems == ["test: 1 notes hold a section written after admission"]


def test_signs_of_later_text_are_counted_by_kind_with_ids(cohort: Path) -> None:
    ids = []

    def edit(table: list[dict[str, Any]]) -> None:
        say(table[0], "History of Present Illness: ill. On hospital day 3 she was better.")
        ids.append(table[0]["id"])

    change(cohort / "test.parquet", edit)
    report = check(cohort)
    assert report.splits["test"].leaks["hospital day"] == ids
    assert report.splits["test"].suspected == 1
    assert report.problems == ["test: 1 notes show signs of text from after admission"]
    assert not report.with_sources


def test_a_note_is_compared_with_the_summary_it_was_cut_from(hospital: Hospital) -> None:
    source = "CC: cough\nBrief Hospital Course:\nA chest tube drained two litres; atherosclerotic plaque seen.\n"
    hospital.admit(7, 8, codes=[(1, "I2510", 10)], notes=[source])
    hospital.write().extract()
    folder = hospital.folder / "out"
    assert check(folder, hospital.folder / "note").problems == []

    def leak(table: list[dict[str, Any]]) -> None:
        for row in table:
            if row["id"] == "8":
                say(row, "CC: chest tube drained two litres, atherosclerotic")

    for name in ("train", "validation", "test"):
        change(folder / f"{name}.parquet", leak)
    report = check(folder, hospital.folder / "note")
    assert report.with_sources
    found = [split.leaks for split in report.splits.values() if split.leaks["passage"]]
    assert [(leaks["title"], leaks["passage"]) for leaks in found] == [(["8"], ["8"])]
    assert sorted(path.name for path in folder.glob("*")) == sorted(path.name for path in folder.glob("[!.]*"))


def test_a_cohort_of_an_earlier_version_is_read_by_hadm_id(cohort: Path, hospital: Hospital) -> None:
    for name in ("train", "validation", "test", "sources"):
        table = pq.read_table(cohort / f"{name}.parquet")
        old = table.append_column("hadm_id", table["id"].cast(pa.int64())).drop_columns(["id"])
        if name != "sources":
            place = old.schema.get_field_index("subject_id")
            old = old.set_column(place, "subject_id", old["subject_id"].cast(pa.int64()))
        pq.write_table(old, cohort / f"{name}.parquet")
    report = check(cohort, hospital.folder / "note")
    assert report.problems == []
    assert sum(len(split.patients) for split in report.splits.values()) == 31


def test_a_file_without_an_id_is_refused(cohort: Path) -> None:
    table = pq.read_table(cohort / "test.parquet")
    pq.write_table(table.drop_columns(["id"]), cohort / "test.parquet")
    with pytest.raises(UserError, match=r"test\.parquet: column id is missing"):
        check(cohort)


def test_summaries_of_another_cohort_are_refused(cohort: Path, hospital: Hospital) -> None:
    del hospital.rows["discharge"][3:]
    hospital.write()
    with pytest.raises(UserError, match=r"discharge\.csv: has 3 of the 31 notes of the cohort"):
        check(cohort, hospital.folder / "note")


def test_a_cohort_without_sources_is_refused_by_name(cohort: Path, hospital: Hospital) -> None:
    (cohort / "sources.parquet").unlink()
    with pytest.raises(UserError, match=r"sources\.parquet: missing"):
        check(cohort, hospital.folder / "note")


def test_leaks_of_the_answer_are_counted(cohort: Path) -> None:
    def edit(table: list[dict[str, Any]]) -> None:
        disc = [row for row in table if row["code"] == "M5116"]
        say(disc[0], "Chief Complaint: came for M51.16")
        say(disc[1], "intervertebral disc disorders\nwith radiculopathy, lumbar region")
        say(disc[2], "again M5116")

    change(cohort / "train.parquet", edit)
    split = check(cohort).splits["train"]
    assert (split.code_named, split.title_named) == (2, 1)


def test_rows_that_went_missing_are_a_problem(cohort: Path) -> None:
    change(cohort / "train.parquet", lambda table: table.clear())
    assert any(problem.startswith("train.parquet has 0 rows") for problem in check(cohort).problems)


def test_another_prompt_is_a_problem(cohort: Path) -> None:
    change(cohort / "test.parquet", lambda table: table[0]["prompt"].pop(0))
    assert check(cohort).problems == ["test: 1 prompts differ from those of this version"]


def test_a_code_that_is_not_billable_is_a_problem(cohort: Path) -> None:
    def edit(table: list[dict[str, Any]]) -> None:
        table[0]["code"] = table[0]["reward_model"]["ground_truth"] = "M51"

    change(cohort / "test.parquet", edit)
    assert check(cohort).problems == ["test: 1 codes are not billable codes of the ICD-10-CM table"]


def test_a_missing_file_is_named(cohort: Path) -> None:
    (cohort / "validation.parquet").unlink()
    with pytest.raises(UserError, match=r"validation\.parquet: missing"):
        check(cohort)


def test_a_missing_column_is_named(cohort: Path) -> None:
    table = pq.read_table(cohort / "test.parquet")
    pq.write_table(table.drop_columns(["race"]), cohort / "test.parquet")
    with pytest.raises(UserError, match=r"test\.parquet: column race is missing"):
        check(cohort)


def test_a_damaged_file_is_named(cohort: Path) -> None:
    (cohort / "test.parquet").write_bytes(b"PAR1")
    with pytest.raises(UserError, match=r"test\.parquet"):
        check(cohort)


@pytest.mark.parametrize(
    ("note", "named"), [("code M5116.", True), ("code M51.16", True), ("XM5116", False), ("M51160", False), ("", False)]
)
def test_a_code_is_named_with_or_without_its_dot_as_a_whole_word(note: str, named: bool) -> None:
    assert names_code(note, "M5116") is named


def test_a_title_is_named_across_line_breaks_and_case() -> None:
    assert names_title("INTERVERTEBRAL disc disorders with\nradiculopathy, lumbar region", "M5116")
    assert not names_title("disc disorder", "M5116")
    assert not names_title("anything", "ZZZ")


def test_percentiles_are_nearest_ranks() -> None:
    assert percentiles(range(1, 101)) == [5, 50, 95, 99, 100]
    assert percentiles([3]) == [3] * 5
    assert percentiles([]) == [0] * 5


def test_a_split_without_admissions_is_refused_before_a_run(cohort: Path) -> None:
    change(cohort / "test.parquet", list.clear)
    with pytest.raises(UserError, match=r"test\.parquet: has no admissions"):
        look(cohort)
