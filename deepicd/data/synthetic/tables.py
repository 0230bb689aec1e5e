"""Writes the tables; the same seed gives the same bytes."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

from deepicd import icd10
from deepicd.data.atomic_output import atomic_output
from deepicd.data.synthetic import cases, summary
from deepicd.data.synthetic.diseases import Disease, choose, frequencies
from deepicd.data.synthetic.lexicon import lexicon
from deepicd.spec.data import SyntheticSource

_COLUMNS = {
    "hosp/patients": "subject_id gender anchor_age anchor_year anchor_year_group dod",
    "hosp/admissions": "subject_id hadm_id admittime dischtime deathtime admission_type admit_provider_id "
    "admission_location discharge_location insurance language marital_status race edregtime edouttime "
    "hospital_expire_flag",
    "hosp/diagnoses_icd": "subject_id hadm_id seq_num icd_code icd_version",
    "hosp/d_icd_diagnoses": "icd_code icd_version long_title",
    "note/discharge": "note_id subject_id hadm_id note_type note_seq charttime storetime text",
}
_RACES = ("WHITE", "WHITE", "WHITE", "BLACK/AFRICAN AMERICAN", "HISPANIC/LATINO - PUERTO RICAN", "ASIAN", "UNKNOWN")
_INSURANCES = ("Medicare", "Medicare", "Private", "Medicaid", "Other", "")
_LANGUAGES = ("English", "English", "English", "English", "Spanish", "Chinese", "")
_MARITAL = ("MARRIED", "SINGLE", "WIDOWED", "")

# Shares of admissions that the extraction has to drop, each for a different reason.
_ICD9 = 0.03
_NEVER_BILLABLE = 0.005
_WITHOUT_NOTE = 0.02
_BARE_NOTE = 0.01
_RETURNS = 0.25  # chance that a patient is admitted again
_DIED = 0.02
_COMPRESSION = 3
_TRIES = 50  # to find a disease for a patient's sex; a small choice of codes may have none


@dataclass(frozen=True, slots=True)
class _Patient:
    subject_id: int
    sex: str
    anchor_age: int
    anchor_year: int
    race: str


def write_tables(spec: SyntheticSource, out: Path, *, later_words: int = 0) -> None:
    """Write hosp/*.csv.gz, note/discharge.csv.gz and traces.jsonl, with one admission in memory at a time.

    Args:
        spec: number of admissions and codes, the codes' frequencies, and the seed. The same values give the same bytes.
        out: created if missing; its files are replaced only when all new ones are complete.
        later_words: minimum number of words after the admission sections of each summary; real ones have about 1,200.

    Raises:
        UserError: the ICD-10-CM table has fewer suitable codes than requested, or the disk is full.
    """
    rng = random.Random(spec.seed)
    diseases = choose(spec.codes, rng)
    with atomic_output(out, last="traces.jsonl") as work, _opened(work) as files:
        cumulative = list(accumulate(frequencies(len(diseases), spec.frequency_exponent)))
        hospital = _Hospital(files, diseases, cumulative, rng, later_words)
        _write_titles(files["hosp/d_icd_diagnoses"], diseases)
        admission = number = 0
        while admission < spec.admissions:
            patient = _patient(number, rng)
            number += 1
            died = f"{patient.anchor_year + 9}-03-04" if rng.random() < _DIED else ""
            files["hosp/patients"].writerow(
                (patient.subject_id, patient.sex, patient.anchor_age, patient.anchor_year, "2017 - 2019", died)
            )
            visit = 0
            while admission < spec.admissions and (visit == 0 or rng.random() < _RETURNS):
                hospital.admit(patient, _scattered(admission, 20_000_000), visit)
                admission += 1
                visit += 1


@dataclass(frozen=True, slots=True)
class _Hospital:
    files: dict[str, Any]
    diseases: Sequence[Disease]
    cumulative: Sequence[float]
    rng: random.Random
    later_words: int

    def admit(self, patient: _Patient, hadm_id: int, visit: int) -> None:
        """Write one admission: its row, diagnoses, summary and trace."""
        rng = self.rng
        case = cases.draw(self._disease(patient.sex), self.diseases, rng)
        day = f"{patient.anchor_year + rng.randint(0, 2) + visit}-{rng.randint(1, 12):02}"
        came = f"{day}-{rng.randint(1, 14):02} {rng.randint(0, 23):02}:{rng.randint(0, 59):02}:00"
        left = f"{day}-{rng.randint(15, 28):02} 14:30:00"
        self.files["hosp/admissions"].writerow(
            (patient.subject_id, hadm_id, came, left, "", "EW EMER.", f"P{rng.randint(10, 99)}XYZ", "EMERGENCY ROOM",
             "HOME", rng.choice(_INSURANCES), rng.choice(_LANGUAGES), rng.choice(_MARITAL), patient.race, came, came, 0)
        )  # fmt: skip
        fate = rng.random()
        icd9, wrong = fate < _ICD9, _ICD9 <= fate < _ICD9 + _NEVER_BILLABLE
        self._diagnose(patient.subject_id, hadm_id, self._codes(case, icd9=icd9, wrong=wrong))
        if 1 - fate < _WITHOUT_NOTE:
            return
        bare = 1 - fate < _WITHOUT_NOTE + _BARE_NOTE
        text = summary.bare(patient.sex) if bare else summary.write(case, patient.sex, rng, later_words=self.later_words)
        self.files["note/discharge"].writerow(
            (f"{patient.subject_id}-DS-{visit + 1}", patient.subject_id, hadm_id, "DS", visit + 1, left, left, text)
        )
        if not (bare or icd9 or wrong):
            self.files["traces"].write(json.dumps({"id": str(hadm_id), "trace": cases.trace(case, rng)}) + "\n")

    def _disease(self, sex: str) -> Disease:
        for _ in range(_TRIES):
            disease = self.rng.choices(self.diseases, cum_weights=self.cumulative)[0]
            if disease.sex in {None, sex}:
                break
        return disease

    def _codes(self, case: cases.Case, *, icd9: bool, wrong: bool) -> list[tuple[str, int]]:
        fill = lexicon().fill
        if icd9:
            return [(code, 9) for code in self.rng.sample(fill["icd9"], 2)]
        if wrong:
            return [(self.rng.choice(fill["never_billable"]), 10)]
        return [(code, 10) for code in dict.fromkeys([case.disease.code, *(one.code for one in case.other)])]

    def _diagnose(self, subject_id: int, hadm_id: int, codes: Sequence[tuple[str, int]]) -> None:
        rows = [(subject_id, hadm_id, number, f"{code:<7}", version) for number, (code, version) in enumerate(codes, 1)]
        self.rng.shuffle(rows)  # in the real table the principal diagnosis is not always the first row either
        self.files["hosp/diagnoses_icd"].writerows(rows)


def _patient(number: int, rng: random.Random) -> _Patient:
    return _Patient(
        subject_id=_scattered(number, 10_000_000),
        sex=rng.choice("FM"),
        anchor_age=rng.randint(18, 88),
        anchor_year=rng.randint(2110, 2190),
        race=rng.choice(_RACES),
    )


def _scattered(number: int, base: int) -> int:
    """Distinct unordered ids of eight digits: multiples of a fixed number modulo a prime."""
    return base + (number * 3_141_593 + 2_718_281) % 9_999_991


def _write_titles(table: Any, diseases: Sequence[Disease]) -> None:
    fill = lexicon().fill
    table.writerows((f"{code:<7}", 9, "Historical code") for code in fill["icd9"])
    table.writerows((f"{code:<7}", 10, icd10.description(code)) for code in fill["never_billable"] if icd10.is_valid(code))
    table.writerows((f"{code:<7}", 10, icd10.description(code)) for code in sorted(one.code for one in diseases))


@contextmanager
def _opened(work: Path) -> Iterator[dict[str, Any]]:
    """Yield a CSV writer for each table, and the file of traces. Gzip headers contain no name and no time."""
    writers: dict[str, Any] = {}
    with ExitStack() as opened:
        writers["traces"] = opened.enter_context((work / "traces.jsonl").open("w", encoding="utf-8", newline="\n"))
        for name, columns in _COLUMNS.items():
            path = work / f"{name}.csv.gz"
            path.parent.mkdir(exist_ok=True)
            raw = opened.enter_context(path.open("wb"))
            packed = gzip.GzipFile(filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=raw, mtime=0)
            text = opened.enter_context(io.TextIOWrapper(packed, encoding="utf-8", newline=""))
            writers[name] = csv.writer(text, lineterminator="\n")
            writers[name].writerow(columns.split())
        yield writers
