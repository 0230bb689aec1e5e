"""The synthetic tables."""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
from pathlib import Path

import pytest

from deepicd.data import check, cohort, mimic, sft
from deepicd.data.synthetic import write_tables
from deepicd.spec.data import SplitSpec, SyntheticSource

FILES = (
    "hosp/admissions.csv.gz",
    "hosp/d_icd_diagnoses.csv.gz",
    "hosp/diagnoses_icd.csv.gz",
    "hosp/patients.csv.gz",
    "note/discharge.csv.gz",
    "traces.jsonl",
)
HEADERS = {
    "hosp/patients": "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
    "hosp/admissions": "subject_id,hadm_id,admittime,dischtime,deathtime,admission_type,admit_provider_id,"
    "admission_location,discharge_location,insurance,language,marital_status,race,edregtime,edouttime,"
    "hospital_expire_flag",
    "hosp/diagnoses_icd": "subject_id,hadm_id,seq_num,icd_code,icd_version",
    "hosp/d_icd_diagnoses": "icd_code,icd_version,long_title",
    "note/discharge": "note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synthetic")
    write_tables(SyntheticSource(admissions=1500, codes=40, seed=4), out / "tables")
    mimic.extract(out / "tables" / "hosp", out / "tables" / "note", out / "cohort", SplitSpec())
    return out


def rows(folder: Path, table: str) -> list[dict[str, str]]:
    with gzip.open(folder / "tables" / f"{table}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_tables(SyntheticSource(admissions=80, codes=12, seed=1), tmp_path / name)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert tuple(sorted(digests(tmp_path / "a"))) == FILES


def test_another_seed_gives_other_bytes(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_tables(SyntheticSource(admissions=80, codes=12, seed=seed), tmp_path / str(seed))
    first, second = digests(tmp_path / "1"), digests(tmp_path / "2")
    assert all(first[name] != second[name] for name in FILES)


@pytest.mark.parametrize("table", HEADERS)
def test_tables_have_the_columns_of_mimic_iv(folder: Path, table: str) -> None:
    with gzip.open(folder / "tables" / f"{table}.csv.gz", "rt", encoding="utf-8") as file:
        assert file.readline().rstrip("\n") == HEADERS[table]


def test_there_are_as_many_admissions_as_asked_for(folder: Path) -> None:
    admissions = rows(folder, "hosp/admissions")
    assert len({row["hadm_id"] for row in admissions}) == len(admissions) == 1500


def test_ids_have_eight_digits_and_some_patients_return(folder: Path) -> None:
    admissions, patients = rows(folder, "hosp/admissions"), rows(folder, "hosp/patients")
    assert all(len(row["hadm_id"]) == len(row["subject_id"]) == 8 for row in admissions)
    assert {row["subject_id"] for row in admissions} == {row["subject_id"] for row in patients}
    assert len(patients) < len(admissions) * 0.9


def test_codes_are_padded_and_rows_unsorted_as_in_the_real_table(folder: Path) -> None:
    diagnoses = rows(folder, "hosp/diagnoses_icd")
    assert {len(row["icd_code"]) for row in diagnoses} == {7}
    first: dict[str, str] = {}
    for row in diagnoses:
        first.setdefault(row["hadm_id"], row["seq_num"])
    assert any(number != "1" for number in first.values())


def test_the_extraction_finds_reasons_to_drop_admissions(folder: Path) -> None:
    dropped = cohort.read(folder / "cohort").dropped
    assert {name for name, count in dropped.items() if count} >= {
        "no_icd10_diagnosis",
        "unknown_code",
        "not_billable_code",
        "no_note",
        "empty_note",
    }


def test_the_extracted_cohort_passes_its_check_without_leaks(folder: Path) -> None:
    report = check.check(folder / "cohort")
    assert report.problems == []
    assert sum(split.code_named + split.title_named for split in report.splits.values()) == 0
    assert len(report.splits["train"].codes) == 40


def test_every_extracted_admission_has_a_trace(folder: Path, tmp_path: Path) -> None:
    examples = sft.write(folder / "cohort" / "train.parquet", folder / "tables" / "traces.jsonl", tmp_path / "sft.parquet")
    assert (examples.without_trace, examples.empty, examples.tagged) == (0, 0, 0)
    assert examples.written == cohort.read(folder / "cohort").splits["train"].admissions


def test_traces_are_one_json_object_a_line(folder: Path) -> None:
    for line in (folder / "tables" / "traces.jsonl").read_text().splitlines():
        assert set(json.loads(line)) == {"id", "trace"}


def test_only_patients_of_a_sex_get_its_conditions(tmp_path: Path) -> None:
    write_tables(SyntheticSource(admissions=400, codes=400, seed=1), tmp_path / "tables")
    sexes = {row["subject_id"]: row["gender"] for row in rows(tmp_path, "hosp/patients")}
    pregnancies = [row for row in rows(tmp_path, "hosp/diagnoses_icd") if row["icd_code"].startswith("O")]
    principal = [row for row in pregnancies if row["seq_num"] == "1"]
    assert principal
    assert {sexes[row["subject_id"]] for row in principal} == {"F"}


@pytest.mark.parametrize(("exponent", "low", "high"), [(0, 0.1, 0.2), (3, 0.7, 0.95)])
def test_the_exponent_decides_how_common_the_first_code_is(exponent: float, low: float, high: float, tmp_path: Path) -> None:
    write_tables(SyntheticSource(admissions=400, codes=10, frequency_exponent=exponent, seed=1), tmp_path / "tables")
    principal = [row["icd_code"] for row in rows(tmp_path, "hosp/diagnoses_icd") if row["seq_num"] == "1"]
    assert low <= max(principal.count(code) for code in principal) / len(principal) <= high


def test_a_single_admission_can_be_written(tmp_path: Path) -> None:
    write_tables(SyntheticSource(admissions=1, codes=2, seed=1), tmp_path / "tables")
    assert len(rows(tmp_path, "hosp/admissions")) == 1
