from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ablation_traces
from deepicd.data import mimic, synthetic
from deepicd.spec.data import SplitSpec, SyntheticSource

CODES, SEED = 12, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("traces")
    synthetic.write_tables(SyntheticSource(admissions=300, codes=CODES, seed=SEED), folder / "tables")
    mimic.extract(folder / "tables/hosp", folder / "tables/note", folder / "cohort", SplitSpec())
    return folder, ablation_traces.write(folder / "tables", folder / "cohort", CODES, SEED, folder)


def read(folder: Path, name: str) -> dict[str, str]:
    rows = map(json.loads, (folder / f"{name}.jsonl").read_text().splitlines())
    return {row["id"]: row["trace"] for row in rows}


def test_about_half_of_the_traces_have_a_fault(made: tuple[Path, dict[str, Any]]) -> None:
    folder, counts = made
    clean, unfiltered = read(folder, "clean"), read(folder, "unfiltered")
    assert clean.keys() == unfiltered.keys()
    assert 0.35 < sum(clean[one] != unfiltered[one] for one in clean) / len(clean) < 0.6
    assert set(counts["planted"]) == set(map(str, ablation_traces.PLANTED))


def test_the_filters_keep_clean_traces_and_hardly_a_planted_fault(made: tuple[Path, dict[str, Any]]) -> None:
    folder, counts = made
    clean, unfiltered, filtered = (read(folder, name) for name in ("clean", "unfiltered", "filtered"))
    assert filtered.items() <= unfiltered.items()
    assert len(filtered) == counts["kept"]
    assert sum(counts["caught"].values()) >= 0.95 * sum(counts["planted"].values())
    assert sum(filtered[one] == clean[one] for one in filtered) >= 0.95 * len(filtered)


def test_the_bare_set_says_nothing_about_any_note(made: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = made
    assert set(read(folder, "bare").values()) == {ablation_traces.BARE}
    assert read(folder, "bare").keys() == read(folder, "clean").keys()
