"""From MIMIC-IV's tables to a split cohort."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.data import rows
from deepicd.data.check import check
from deepicd.data.cohort import SectionCounts

if TYPE_CHECKING:
    from tests.unit.data.conftest import Hospital

CANARY = "zebracanary"
NOTE = "Sex:   F\n \nChief Complaint:\nback pain\n \nBrief Hospital Course:\nLATER\n"


def test_a_row_has_verls_columns_and_ours(hospital: Hospital) -> None:
    hospital.admit(7, 8, insurance="Medicare", language="English", race="ASIAN", codes=[(1, "I2510", 10)], group="2014 - 2016")
    hospital.write().extract()
    row = hospital.row(8)
    split, index = row["extra_info"]["split"], row["extra_info"]["index"]
    assert row == {
        "data_source": "mimic-iv",
        "prompt": prompt.messages("Chief Complaint: back pain"),
        "ability": "icd-10-cm",
        "reward_model": {"style": "rule", "ground_truth": "I2510"},
        "extra_info": {"index": index, "id": "8", "split": split, "fiscal_years": [2014, 2017], "local_code": False},
        "id": "8",
        "subject_id": "7",
        "code": "I2510",
        "sex": "F",
        "age": 50,
        "race": "ASIAN",
        "insurance": "Medicare",
        "language": "English",
    }


def test_indices_count_the_rows_of_each_split(hospital: Hospital) -> None:
    hospital.write().extract()
    for name in ("train", "validation", "test"):
        table = pq.read_table(hospital.folder / "out" / f"{name}.parquet").to_pylist()
        assert [row["extra_info"]["index"] for row in table] == list(range(len(table)))
        assert {row["extra_info"]["split"] for row in table} == {name}


def test_the_principal_diagnosis_is_the_lowest_seq_num_of_icd10_in_any_order(hospital: Hospital) -> None:
    hospital.admit(7, 8, codes=[(12, "K8520", 10), (3, "I2510", 10), (1, "4280", 9), (20, "E119", 10)])
    hospital.write().extract()
    assert hospital.row(8)["code"] == "I2510"


def test_codes_are_trimmed_and_never_turned_into_numbers(hospital: Hospital) -> None:
    hospital.admit(7, 8, codes=[(1, "E119   ", 10)])
    hospital.admit(17, 18, codes=[(1, "1E10   ", 10)])
    cohort = hospital.write().extract()
    assert hospital.row(8)["code"] == "E119"
    assert cohort.unknown_codes == {"1E10": 1}


def test_age_is_that_at_admission(hospital: Hospital) -> None:
    hospital.admit(7, 8, admittime="2153-12-31 23:59:59")
    hospital.write().extract()
    assert hospital.row(8)["age"] == 53


def test_race_is_that_of_the_admission_and_missing_facts_are_unknown(hospital: Hospital) -> None:
    hospital.admit(7, 8, race="WHITE")
    hospital.admit(7, 9, race="OTHER", insurance="", language="")
    hospital.write().extract()
    assert (hospital.row(8)["race"], hospital.row(9)["race"]) == ("WHITE", "OTHER")
    assert (hospital.row(9)["insurance"], hospital.row(9)["language"]) == ("UNKNOWN", "UNKNOWN")


def test_every_dropped_admission_has_one_reason(hospital: Hospital) -> None:
    hospital.admit(101, 201, codes=[])
    hospital.admit(102, 202, codes=[(1, "4280", 9)])
    hospital.admit(103, 203, patient=False)
    hospital.admit(104, 204, codes=[(1, "ZZ999", 10)])
    hospital.admit(105, 205, codes=[(1, "M54", 10)])
    hospital.admit(106, 206, notes=[])
    hospital.admit(107, 207, notes=[NOTE.replace("\n", " ")])
    hospital.admit(108, 208, notes=["Sex:   F\nPhysical Exam: pale\nBrief Hospital Course:\nChief Complaint: LATER\n"])
    cohort = hospital.write().extract()
    assert set(cohort.dropped.values()) == {1}
    assert len(cohort.dropped) == 8
    assert (cohort.admissions, cohort.kept) == (38, 30)
    assert cohort.notes_set_aside["without_line_breaks"] == 1
    assert cohort.unknown_codes == {"M54": 1, "ZZ999": 1}


def test_of_several_summaries_the_one_with_the_lowest_note_seq_counts(hospital: Hospital) -> None:
    hospital.admit(7, 8, notes=[])
    hospital.note(7, 8, "CC: second\n", note_seq=15)
    hospital.note(7, 8, "CC: first\n", note_seq=2)
    cohort = hospital.write().extract()
    assert hospital.row(8)["prompt"][-1]["content"] == "Chief Complaint: first"
    assert cohort.notes_set_aside["later_of_same_stay"] == 1


def test_an_empty_summary_that_comes_first_does_not_drop_the_stay(hospital: Hospital) -> None:
    hospital.admit(7, 8, notes=["Sex:   F\nAddendum:\nPending culture is negative.\n", "CC: first\n", "CC: second\n"])
    hospital.admit(17, 18, notes=["CC: lost HPI: lost PMH: lost Discharge Diagnosis: lost " * 9, "CC: whole\n"])
    cohort = hospital.write().extract()
    assert hospital.row(8)["prompt"][-1]["content"] == "Chief Complaint: first"
    assert hospital.row(18)["prompt"][-1]["content"] == "Chief Complaint: whole"
    assert cohort.notes_set_aside["later_of_same_stay"] == 3
    assert cohort.kept == 32


@pytest.mark.parametrize("hadm_id", ["", " "])
def test_a_summary_without_hadm_id_is_set_aside_and_counted(hospital: Hospital, hadm_id: str) -> None:
    hospital.rows["discharge"][-1]["hadm_id"] = hadm_id
    cohort = hospital.write().extract()
    assert cohort.notes_set_aside["without_hadm_id"] == 1
    assert (cohort.dropped["no_note"], cohort.kept) == (1, 29)


def test_what_was_cut_is_counted_by_section(hospital: Hospital) -> None:
    hospital.admit(7, 8, notes=["HPI: ill\nICU course: better\nPMH: gout\nPhysical Exam:\npale\nDischarge exam: well\n"])
    cohort = hospital.write().extract()
    assert cohort.sections["Chief Complaint"] == SectionCounts(30, 0, 0)
    assert cohort.sections["History of Present Illness"] == SectionCounts(1, 1, len(" better\n"))
    assert cohort.sections["Physical Exam"] == SectionCounts(1, 1, len("Discharge exam: well\n"))
    assert cohort.sections["Social History"] == SectionCounts(0, 0, 0)


def test_the_cohort_keeps_the_places_of_its_notes_in_the_source(hospital: Hospital) -> None:
    text = "HPI: İll\r\nPhysical Exam:\r\npale\r\nDischarge exam: well\r\nMeds on admission:\r\nAspirin\r\n"
    hospital.admit(7, 8, notes=[text])
    hospital.write().extract()
    table = pq.read_table(hospital.folder / "out" / rows.SOURCES).to_pylist()
    assert [row["place"] for row in table] == list(range(1, 32))
    (row,) = (row for row in table if row["id"] == "8")
    assert row["note_id"] == "7-DS-1"
    assert text[row["later"] :].startswith("Discharge exam")
    assert [(span["section"], text[span["start"] : span["end"]].strip()) for span in row["spans"]] == [
        ("History of Present Illness", "İll"), ("Physical Exam", "pale"), ("Medications on Admission", "Aspirin"),
    ]  # fmt: skip


def test_notes_that_are_not_summaries_or_of_unknown_admissions_are_set_aside(hospital: Hospital) -> None:
    hospital.admit(7, 8)
    hospital.note(7, 8, "CC: addendum\n", note_seq=0, note_type="AD")
    hospital.note(7, 9999, "CC: elsewhere\n")
    cohort = hospital.write().extract()
    assert hospital.row(8)["prompt"][-1]["content"] == "Chief Complaint: back pain"
    assert cohort.notes_set_aside["not_a_discharge_summary"] == 1
    assert cohort.notes_set_aside["admission_not_in_admissions"] == 1


def test_a_note_that_names_another_sex_is_kept_and_counted(hospital: Hospital) -> None:
    hospital.admit(7, 8, notes=[NOTE.replace("Sex:   F", "Sex:   M")])
    cohort = hospital.write().extract()
    assert cohort.other_sex == 1
    assert hospital.row(8)["sex"] == "F"


def test_a_code_without_title_is_kept_and_counted(hospital: Hospital) -> None:
    hospital.admit(7, 8, codes=[(1, "I2510", 10)])
    cohort = hospital.write().extract()
    assert cohort.codes_without_title == 1
    assert hospital.row(8)["code"] == "I2510"


@pytest.mark.parametrize("code", ["K859", "T814XXA", "M545", "I482", "G20", "K3580", "I711"])
def test_a_code_that_was_billable_in_any_release_is_kept(hospital: Hospital, code: str) -> None:
    hospital.admit(7, 8, codes=[(1, code, 10)])
    cohort = hospital.write().extract()
    assert hospital.row(8)["code"] == code
    assert (cohort.unknown_codes, cohort.local_codes) == ({}, {})


def test_a_local_code_is_kept_counted_and_named(hospital: Hospital) -> None:
    for number, code in enumerate(("K8599", "ZZ999", "ZZ999")):
        hospital.title(code)
        hospital.admit(100 + number, 200 + number, codes=[(1, code, 10)])
    cohort = hospital.write().extract()
    assert cohort.local_codes == {"ZZ999": 2, "K8599": 1}
    assert cohort.dropped["unknown_code"] == 0
    assert [hospital.row(200)["extra_info"]["local_code"], hospital.row(2000)["extra_info"]["local_code"]] == [True, False]
    assert check(hospital.folder / "out").problems == []


@pytest.mark.parametrize("code", ["M54", "NoDx"])
def test_a_title_makes_neither_a_header_nor_a_word_a_local_code(hospital: Hospital, code: str) -> None:
    hospital.title(code)
    hospital.admit(7, 8, codes=[(1, code, 10)])
    assert hospital.write().extract().local_codes == {}


def test_codes_of_other_years_are_kept_counted_and_named(hospital: Hospital) -> None:
    # Anchor year 2150; K85.9 was billable in FY2016 only, K85.90 is since FY2017.
    hospital.admit(101, 201, codes=[(1, "K859", 10)], group="2014 - 2016")
    hospital.admit(102, 202, codes=[(1, "K859", 10)], group="2014 - 2016", admittime="2152-05-06 07:08:09")
    hospital.admit(103, 203, codes=[(1, "K859", 10)], group="2017 - 2019")
    hospital.admit(104, 204, codes=[(1, "K8590", 10)], group="2017-2019")
    hospital.admit(105, 205, codes=[(1, "K859", 10)], group="2008 - 2010")
    hospital.admit(106, 206, codes=[(1, "K859", 10)], group="later")
    cohort = hospital.write().extract()
    assert (cohort.years_known, cohort.outside_years, cohort.outside_years_codes) == (4, 1, {"K859": 1})
    years = {number: hospital.row(number)["extra_info"]["fiscal_years"] for number in range(201, 207)}
    assert years == {201: [2014, 2017], 202: [2016, 2019], 203: [2017, 2020], 204: [2017, 2020], 205: [2008, 2011], 206: None}
    assert cohort.kept == 36


def test_tables_without_anchor_year_group_leave_the_years_unknown(hospital: Hospital) -> None:
    hospital.columns["patients"].remove("anchor_year_group")
    cohort = hospital.write().extract()
    assert cohort.years_known == 0
    assert hospital.row(2000)["extra_info"]["fiscal_years"] is None


def test_packed_and_plain_tables_give_the_same_bytes(hospital: Hospital, tmp_path: Path) -> None:
    hospital.write().extract(tmp_path / "plain")
    hospital.folder = tmp_path / "packed"
    hospital.write(packed=True).extract(tmp_path / "again")
    names = ["cohort.json", "sources.parquet", "test.parquet", "train.parquet", "validation.parquet"]
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == names
    for name in names:
        assert (tmp_path / "plain" / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_cohort_json_holds_the_counts_and_versions(hospital: Hospital) -> None:
    cohort = hospital.write().extract()
    written = json.loads((hospital.folder / "out" / "cohort.json").read_text())
    assert written["kept"] == 30
    assert sum(split["admissions"] for split in written["splits"].values()) == 30
    assert set(written["versions"]) == {"deepicd", "duckdb", "pyarrow"}
    assert written["dropped"] == cohort.dropped


def test_note_text_is_written_only_to_the_parquet_files(hospital: Hospital, capfd: pytest.CaptureFixture[str]) -> None:
    for row in hospital.rows["discharge"]:
        row["text"] = f"CC: {CANARY}\nBrief Hospital Course:\n{CANARY}\n"
    hospital.write().extract()
    assert CANARY not in (hospital.folder / "out" / "cohort.json").read_text()
    assert CANARY not in "".join(capfd.readouterr())
    assert {path.name for path in (hospital.folder / "out").iterdir()} == {
        "cohort.json", "sources.parquet", "train.parquet", "validation.parquet", "test.parquet",
    }  # fmt: skip


def test_a_table_packed_whole_is_read(hospital: Hospital) -> None:
    path = hospital.write().path("discharge")
    packed = path.with_suffix(".csv.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    assert hospital.extract().kept == 30
