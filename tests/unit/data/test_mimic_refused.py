"""MIMIC-IV's tables at fault: each is refused by its file, and an earlier cohort stays whole."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pytest

from deepicd.data import rows
from deepicd.errors import UserError

if TYPE_CHECKING:
    from tests.unit.data.conftest import Hospital

CANARY = "zebracanary"


@pytest.mark.parametrize("table", ["admissions", "patients", "diagnoses_icd", "d_icd_diagnoses", "discharge"])
def test_a_missing_table_is_named(hospital: Hospital, table: str) -> None:
    hospital.write().path(table).unlink()
    with pytest.raises(UserError, match=f"table {table} is missing"):
        hospital.extract()


@pytest.mark.parametrize(
    ("table", "column"),
    [("admissions", "race"), ("patients", "anchor_age"), ("diagnoses_icd", "seq_num"), ("discharge", "text")],
)
def test_a_missing_column_is_named_with_its_file(hospital: Hospital, table: str, column: str) -> None:
    hospital.columns[table].remove(column)
    with pytest.raises(UserError, match=rf"{table}\.csv: column {column} is missing"):
        hospital.write().extract()


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("admissions", "hadm_id", "20x"),
        ("admissions", "admittime", "2150-01"),
        ("patients", "anchor_age", ""),
        ("patients", "dod", "2150-01-"),
        ("diagnoses_icd", "icd_version", "1"),
    ],
)
def test_a_value_that_is_no_number_or_date_is_named_by_column(hospital: Hospital, table: str, column: str, value: str) -> None:
    hospital.rows[table][-1][column] = value
    with pytest.raises(UserError, match=rf"{table}\.csv: column {column} has no .* in 1 rows"):
        hospital.write().extract()


def test_a_summary_without_a_numeric_id_is_refused_by_row(hospital: Hospital) -> None:
    hospital.rows["discharge"][-1]["hadm_id"] = "20x"
    with pytest.raises(UserError, match=r"discharge\.csv: row 31: subject_id, hadm_id or note_seq is not a whole number"):
        hospital.write().extract()


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("table", ["admissions", "diagnoses_icd", "discharge"])
def test_a_table_cut_off_in_a_row_is_refused(hospital: Hospital, table: str, packed: bool) -> None:
    for row in hospital.rows["discharge"]:
        row["text"] = f"CC: {CANARY}\n"
    path = hospital.write(packed=packed).path(table)
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(UserError, match=rf"{table}\.csv.*cut off") as caught:
        hospital.extract()
    assert CANARY not in str(caught.value)


def test_swapped_notes_of_two_patients_are_refused(hospital: Hospital) -> None:
    first, second = hospital.rows["discharge"][:2]
    first["hadm_id"], second["hadm_id"] = second["hadm_id"], first["hadm_id"]
    message = r"discharge\.csv: 2 notes have a subject_id that differs .* first hadm_id 2001"
    with pytest.raises(UserError, match=message):
        hospital.write().extract()


def test_diagnoses_of_another_patient_are_refused(hospital: Hospital) -> None:
    hospital.rows["diagnoses_icd"][3]["subject_id"] = 1
    with pytest.raises(UserError, match=r"diagnoses_icd\.csv: 1 rows .* first hadm_id 2003"):
        hospital.write().extract()


def test_an_admission_listed_twice_is_refused(hospital: Hospital) -> None:
    hospital.rows["admissions"].append(hospital.rows["admissions"][0])
    with pytest.raises(UserError, match=r"admissions\.csv: 1 values of hadm_id occur twice, first 2000"):
        hospital.write().extract()


def test_an_empty_cohort_is_refused_with_the_reasons(hospital: Hospital) -> None:
    for row in hospital.rows["diagnoses_icd"]:
        row["icd_version"] = 9
    with pytest.raises(UserError, match=r"the cohort is empty \(30 coded in ICD-9 only\)"):
        hospital.write().extract()


def test_tables_without_rows_are_an_empty_cohort(hospital: Hospital) -> None:
    for table in hospital.rows.values():
        table.clear()
    with pytest.raises(UserError, match=r"the cohort is empty \(no admissions\)"):
        hospital.write().extract()


def test_a_split_without_patients_is_refused(hospital: Hospital) -> None:
    for table in ("admissions", "discharge", "diagnoses_icd"):
        del hospital.rows[table][1:]
    with pytest.raises(UserError, match=r"data\.split\.\w+: no patient falls into it"):
        hospital.write().extract()


def test_a_failed_extraction_leaves_the_earlier_one_whole(hospital: Hospital) -> None:
    hospital.write().extract()
    out = hospital.folder / "out"
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    hospital.rows["discharge"][5]["subject_id"] = 1
    with pytest.raises(UserError):
        hospital.write().extract()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_full_disk_is_named_by_folder(hospital: Hospital, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(rows, "write", full)
    with pytest.raises(UserError, match=r"out: the disk is full: free space"):
        hospital.write().extract()
    assert list((hospital.folder / "out").iterdir()) == []
