from __future__ import annotations

import json
from pathlib import Path

from benchmarks import ablation_table

TITLES = {"deepicd": "reference", "other": "other", "absent": "absent"}


def write(folder: Path, seed: int, arm: str, right: int, tokens: int) -> None:
    path = folder / f"seed-{seed}" / f"{arm}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    predictions = [
        {"id": str(number), "subject_id": str(number), "gold": code, "prediction": code if number < right else "I10",
         "faults": [], "reward": 0.0}
        for number, code in enumerate(["M5116", "J189"] * 10)
    ]  # fmt: skip
    path.write_text(json.dumps({"predictions": predictions, "tokens": [tokens] * 20}))


def lines(folder: Path, number: int) -> list[list[str]]:
    rows = list(ablation_table.rows(folder, TITLES, "deepicd", number))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_an_arm_is_compared_with_the_reference_by_seed(tmp_path: Path) -> None:
    for seed in (0, 1):
        write(tmp_path, seed, "deepicd", 20, 40)
        write(tmp_path, seed, "other", 10, 42)
    header, _, reference, other = lines(tmp_path, 2)
    assert len(header) == len(reference) == len(other) == 7
    assert reference[1] == "1.000 (SD 0.000)"
    assert other[1].startswith("0.667 (SD 0.000); -0.333 [-0.")
    assert other[5] == "42.0 (SD 0.0); +2.0 [+2.0, +2.0] ([+2.0, +2.0])"
    assert other[6] == "0, 1"


def test_a_row_has_the_seeds_that_arm_and_reference_have(tmp_path: Path) -> None:
    write(tmp_path, 0, "deepicd", 20, 40)
    write(tmp_path, 1, "deepicd", 20, 40)
    write(tmp_path, 1, "other", 20, 40)
    _, _, reference, other = lines(tmp_path, 3)
    assert reference[6] == "0, 1"
    assert other[6] == "1"
    assert "(SD" not in other[1]


def test_without_answers_there_are_no_rows(tmp_path: Path) -> None:
    assert len(lines(tmp_path, 3)) == 2
