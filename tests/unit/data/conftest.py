"""Builders of small MIMIC-IV folders."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from deepicd.data.cohort import Cohort
from deepicd.data.mimic import extract
from deepicd.spec.data import SplitSpec

_COLUMNS = {
    "patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id "
    "admission_location discharge_location insurance language marital_status race edregtime edouttime "
    "hospital_expire_flag",
    "diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
    "d_icd_diagnoses": "icd_code icd_version long_title",
    "discharge": "note_id subject_id hadm_id note_type note_seq charttime storetime text",
}
COLUMNS = {table: columns.split() for table, columns in _COLUMNS.items()}
NOTE = "Sex:   F\n \nChief Complaint:\nback pain\n \nBrief Hospital Course:\nLATER\n"


class Hospital:
    """Rows of the five tables; starts with thirty plain admissions of thirty patients."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in COLUMNS}
        self.columns = {name: list(columns) for name, columns in COLUMNS.items()}
        self.title("M5116")
        for number in range(30):
            self.admit(1000 + number, 2000 + number)

    def title(self, code: str) -> None:
        self.rows["d_icd_diagnoses"].append({"icd_code": code, "icd_version": 10, "long_title": "a title"})

    def admit(
        self,
        subject_id: int,
        hadm_id: int,
        *,
        codes: Sequence[tuple[int, str, int]] = ((1, "M5116", 10),),
        notes: Sequence[str] = (NOTE,),
        patient: bool = True,
        group: str = "",
        **facts: Any,
    ) -> None:
        """Add an admission; `codes` are (seq_num, icd_code, icd_version) in the order of the table's rows."""
        if patient and not any(row["subject_id"] == subject_id for row in self.rows["patients"]):
            person = {"subject_id": subject_id, "gender": "F", "anchor_age": 50, "anchor_year": 2150, "dod": ""}
            self.rows["patients"].append(person | {"anchor_year_group": group})
        stay = {"subject_id": subject_id, "hadm_id": hadm_id, "admittime": "2150-01-02 03:04:00", "race": "WHITE"}
        self.rows["admissions"].append(stay | facts)
        for seq_num, code, version in codes:
            row = {"subject_id": subject_id, "hadm_id": hadm_id, "seq_num": seq_num}
            self.rows["diagnoses_icd"].append(row | {"icd_code": code, "icd_version": version})
        for number, text in enumerate(notes, start=1):
            self.note(subject_id, hadm_id, text, note_seq=number)

    def note(self, subject_id: int, hadm_id: int, text: str, *, note_seq: int = 1, note_type: str = "DS") -> None:
        row = {"note_id": f"{subject_id}-DS-{note_seq}", "subject_id": subject_id, "hadm_id": hadm_id, "text": text}
        self.rows["discharge"].append(row | {"note_seq": note_seq, "note_type": note_type})

    def path(self, table: str) -> Path:
        found = [*self.folder.glob(f"*/{table}.csv"), *self.folder.glob(f"*/{table}.csv.gz")]
        return found[0]

    def write(self, *, packed: bool = False) -> Hospital:
        for table, columns in self.columns.items():
            folder = self.folder / ("note" if table == "discharge" else "hosp")
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{table}.csv{'.gz' if packed else ''}"
            with gzip.open(path, "wt", newline="") if packed else path.open("w", newline="") as file:
                writer = csv.DictWriter(file, columns, lineterminator="\n", extrasaction="ignore")
                writer.writeheader()
                writer.writerows(self.rows[table])
        return self

    def extract(self, out: Path | None = None, **split: Any) -> Cohort:
        return extract(self.folder / "hosp", self.folder / "note", out or self.folder / "out", SplitSpec(**split))

    def cohort_rows(self) -> list[dict[str, Any]]:
        """The rows of all three splits."""
        import pyarrow.parquet as pq

        names = ("train", "validation", "test")
        return [row for name in names for row in pq.read_table(self.folder / "out" / f"{name}.parquet").to_pylist()]

    def row(self, hadm_id: int) -> dict[str, Any]:
        (found,) = [row for row in self.cohort_rows() if row["id"] == str(hadm_id)]
        return found


@pytest.fixture
def hospital(tmp_path: Path) -> Hospital:
    return Hospital(tmp_path)
