"""From the user's own notes to a split cohort."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.data import rows, splits
from deepicd.data.check import check
from deepicd.data.cohort import Cohort, SectionCounts
from deepicd.data.notes import extract
from deepicd.errors import UserError
from deepicd.spec.data import NotesSource, SplitSpec

if TYPE_CHECKING:
    from tests.unit.data.conftest import Hospital

CANARY = "zebracanary"
SUMMARY = "Sex:   F\n \nChief Complaint:\nback pain\n \nBrief Hospital Course:\nLATER\n"


class Notes:
    """Starts with thirty plain notes of thirty patients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = [self.row(f"a{number}", f"p{number}") for number in range(30)]

    def row(self, id_: str, patient: str, **values: Any) -> dict[str, Any]:
        return {"id": id_, "patient_id": patient, "note": "Back pain.", "code": "M51.16", **values}

    def add(self, id_: str, **values: Any) -> None:
        self.rows.append(self.row(id_, f"patient-{id_}", **values))

    def extract(self, sections: Any = "none", **split: Any) -> Cohort:
        with (self.folder / "notes.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(dict.fromkeys(name for row in self.rows for name in row)))
            writer.writeheader()
            writer.writerows(self.rows)
        source = NotesSource(file=str(self.folder / "notes.csv"), sections=sections)
        return extract(source, self.folder / "out", SplitSpec(**split))

    def refusal(self, sections: Any = "none", **split: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.extract(sections, **split)
        message = str(caught.value)
        assert CANARY not in message
        assert not (self.folder / "out" / "cohort.json").exists()
        return message

    def written(self) -> dict[str, dict[str, Any]]:
        """The rows of all three splits by id."""
        tables = [pq.read_table(self.folder / "out" / f"{name}.parquet").to_pylist() for name in splits.SPLITS]
        return {row["id"]: row for table in tables for row in table}


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    return Notes(tmp_path)


def test_a_row_is_that_of_mimic_with_another_source(notes: Notes) -> None:
    notes.add(
        "b", code="i25.10", sex="M", age=63, race="ASIAN", insurance="Private", language="English", note=" Chest pain.\nPale. "
    )
    notes.extract()
    row = notes.written()["b"]
    assert row == {
        "data_source": "notes",
        "prompt": prompt.messages(" Chest pain.\nPale. "),
        "ability": "icd-10-cm",
        "reward_model": {"style": "rule", "ground_truth": "I2510"},
        "extra_info": {**row["extra_info"], "id": "b", "fiscal_years": None, "local_code": False},
        "id": "b",
        "subject_id": "patient-b",
        "code": "I2510",
        "sex": "M",
        "age": 63,
        "race": "ASIAN",
        "insurance": "Private",
        "language": "English",
    }
    assert set(row) == set(rows.schema().names)


def test_missing_columns_are_unknown(notes: Notes) -> None:
    notes.extract()
    row = notes.written()["a0"]
    assert {name: row[name] for name in ("sex", "age", "race", "insurance", "language")} == {
        "sex": "UNKNOWN", "age": None, "race": "UNKNOWN", "insurance": "UNKNOWN", "language": "UNKNOWN",
    }  # fmt: skip


def test_the_cohort_passes_the_check_with_and_without_its_source(notes: Notes) -> None:
    notes.extract()
    folder = notes.folder / "out"
    assert check(folder).problems == []
    assert check(folder, NotesSource(file=str(notes.folder / "notes.csv"))).problems == []


def test_the_sections_of_admission_are_cut_out_and_counted(notes: Notes) -> None:
    for row in notes.rows:
        row["note"] = SUMMARY
    notes.add("b", note="HPI: ill\nICU course: better\nPMH: gout\nPhysical Exam:\npale\nDischarge exam: well\n")
    cohort = notes.extract("admission")
    assert notes.written()["a0"]["prompt"][-1]["content"] == "Chief Complaint: back pain"
    assert cohort.sections["Chief Complaint"] == SectionCounts(30, 0, 0)
    assert cohort.sections["Physical Exam"] == SectionCounts(1, 1, len("Discharge exam: well\n"))
    assert check(notes.folder / "out", NotesSource(file=str(notes.folder / "notes.csv"))).problems == []


def test_later_text_in_notes_that_are_taken_as_they_are_is_a_problem(notes: Notes) -> None:
    notes.add("b", note=SUMMARY)
    notes.extract()
    assert any("1 notes hold a section written after admission" in problem for problem in check(notes.folder / "out").problems)


def test_every_dropped_note_has_one_reason(notes: Notes) -> None:
    notes.add("b1", code="")
    notes.add("b2", code="ZZ999")
    notes.add("b3", code="M54")
    notes.add("b4", note=" \n")
    notes.add("b5", code="25000")
    cohort = notes.extract()
    assert {name: count for name, count in cohort.dropped.items() if count} == {
        "no_diagnosis": 1, "unknown_code": 2, "not_billable_code": 1, "empty_note": 1,
    }  # fmt: skip
    assert cohort.unknown_codes == {"25000": 1, "M54": 1, "ZZ999": 1}
    assert (cohort.admissions, cohort.patients, cohort.notes, cohort.kept) == (35, 35, 35, 30)


def test_a_code_that_is_a_sentence_is_counted_and_not_named(notes: Notes) -> None:
    notes.add("b", code=f"{CANARY} of the disc")
    cohort = notes.extract()
    assert cohort.dropped["unknown_code"] == 1
    assert CANARY not in (notes.folder / "out" / "cohort.json").read_text()


def test_summaries_without_line_breaks_or_admission_sections_are_counted(notes: Notes) -> None:
    for row in notes.rows:
        row["note"] = SUMMARY
    notes.add("b1", note="CC: lost HPI: lost PMH: lost Discharge Diagnosis: lost " * 9)
    notes.add("b2", note="Addendum:\nnothing\n")
    cohort = notes.extract("admission")
    assert (cohort.dropped["note_without_line_breaks"], cohort.dropped["empty_note"]) == (1, 1)
    assert cohort.notes_set_aside["without_line_breaks"] == 1


def test_a_note_that_names_another_sex_is_counted_where_the_column_has_f_or_m(notes: Notes) -> None:
    notes.add("b1", note=SUMMARY, sex="M")
    notes.add("b2", note=SUMMARY, sex="female")
    assert notes.extract().other_sex == 1


def test_an_id_that_occurs_twice_is_refused_by_both_rows(notes: Notes) -> None:
    notes.add("a3")
    assert "notes.csv: row 32: column id: 1 ids occur twice, the first one in" in notes.refusal()
    assert "notes.csv: row 5 as well: remove the copies" in notes.refusal()


def test_notes_of_one_patient_stay_in_one_split(notes: Notes) -> None:
    for row in notes.rows:
        row["patient_id"] = f"p{int(row['id'][1:]) // 2}"
    notes.extract()
    of_patient: dict[str, set[str]] = {}
    for row in notes.written().values():
        of_patient.setdefault(row["subject_id"], set()).add(row["extra_info"]["split"])
    assert len(of_patient) == 15
    assert all(len(found) == 1 for found in of_patient.values())


def test_the_split_is_that_of_mimic_for_the_same_ids(hospital: Hospital) -> None:
    hospital.write().extract()
    own = Notes(hospital.folder / "own")
    own.folder.mkdir()
    own.rows = [own.row(str(2000 + number), str(1000 + number)) for number in range(30)]
    own.extract()
    assert {row["id"]: row["extra_info"]["split"] for row in hospital.cohort_rows()} == {
        id_: row["extra_info"]["split"] for id_, row in own.written().items()
    }


def test_a_column_split_decides(notes: Notes) -> None:
    for number, row in enumerate(notes.rows):
        row["split"] = splits.SPLITS[number % 3]
    cohort = notes.extract()
    assert {id_: row["extra_info"]["split"] for id_, row in notes.written().items()} == {
        f"a{number}": splits.SPLITS[number % 3] for number in range(30)
    }
    assert (cohort.shares, cohort.seed) == ({}, None)
    assert check(notes.folder / "out").problems == []


def test_a_column_split_and_shares_are_refused(notes: Notes) -> None:
    for number, row in enumerate(notes.rows):
        row["split"] = splits.SPLITS[number % 3]
    assert notes.refusal(seed=3) == "data.split: the notes have a column split: remove one of the two"


def test_an_unknown_split_is_named_by_row_if_it_is_a_word(notes: Notes) -> None:
    notes.add("b", split="dev")
    assert "row 32: column split: 'dev': write one of train, validation, test" in notes.refusal()
    notes.rows[-1]["split"] = f"{CANARY} of a note"
    assert "row 32: column split: another value: write" in notes.refusal()


def test_a_split_that_some_notes_lack_is_refused(notes: Notes) -> None:
    for row in notes.rows[1:]:
        row["split"] = "train"
    assert "notes.csv: row 2: column split: is empty here and in 0 other rows" in notes.refusal()


def test_a_patient_in_two_splits_is_refused(notes: Notes) -> None:
    for number, row in enumerate(notes.rows):
        row["split"] = splits.SPLITS[number % 3]
    notes.rows[1]["patient_id"] = "p0"
    assert "column split: 1 patients are in more than one split, the first is p0" in notes.refusal()


def test_a_split_without_notes_is_refused(notes: Notes) -> None:
    for number, row in enumerate(notes.rows):
        row["split"] = splits.SPLITS[number % 2]
    assert "data.split.test: no patient falls into it (30 admissions): use more or mark some for it" in notes.refusal()


def test_notes_of_admission_that_are_read_as_summaries_are_refused_with_the_remedy(notes: Notes) -> None:
    assert "the cohort is empty (30 note empty, or without" in notes.refusal("admission")
    assert notes.refusal("admission").endswith("notes that were written at admission need sections: none")


def test_a_file_without_rows_is_refused(notes: Notes) -> None:
    (notes.folder / "notes.csv").write_text("id,patient_id,note,code\n")
    with pytest.raises(UserError, match=r"notes\.csv: has no rows"):
        extract(NotesSource(file=str(notes.folder / "notes.csv")), notes.folder / "out", SplitSpec())


def test_the_same_notes_give_the_same_bytes(notes: Notes) -> None:
    notes.extract()
    first = {path.name: path.read_bytes() for path in (notes.folder / "out").iterdir()}
    notes.extract()
    assert {path.name: path.read_bytes() for path in (notes.folder / "out").iterdir()} == first
    assert sorted(first) == ["cohort.json", "sources.parquet", "test.parquet", "train.parquet", "validation.parquet"]
