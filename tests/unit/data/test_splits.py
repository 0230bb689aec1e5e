"""Assigning patients to splits."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Sequence

import duckdb
import pytest

from deepicd.data.splits import assign, split_spec
from deepicd.errors import UserError
from deepicd.spec.data import SplitSpec


def assigned(stays: Sequence[tuple[int, str]], spec: SplitSpec | None = None) -> dict[int, str]:
    connection = duckdb.connect()
    connection.execute("CREATE TABLE cohort (subject_id BIGINT, code VARCHAR)")
    connection.executemany("INSERT INTO cohort VALUES (?, ?)", list(stays))
    assign(connection, spec or SplitSpec())
    rows = connection.execute("SELECT subject_id, split FROM splits").fetchall()
    assert len(rows) == len({subject for subject, _ in stays})
    return dict(rows)


def long_tailed(patients: int) -> list[tuple[int, str]]:
    rng = random.Random(1)
    codes = [f"C{number:02}" for number in range(40)]
    weights = [1 / (rank + 1) for rank in range(40)]
    stays = [(patient, rng.choices(codes, weights)[0]) for patient in range(patients)]
    return stays + [(rng.randrange(patients), rng.choices(codes, weights)[0]) for _ in range(patients // 3)]


def test_shares_hold_over_all_patients() -> None:
    counts = Counter(assigned(long_tailed(1000)).values())
    assert abs(counts["train"] - 700) <= 5
    assert abs(counts["validation"] - 100) <= 5
    assert abs(counts["test"] - 200) <= 5


def test_shares_hold_within_each_code() -> None:
    stays = [(number, f"C{number % 20:02}") for number in range(400)]
    splits = assigned(stays)
    by_code: dict[str, Counter[str]] = defaultdict(Counter)
    for subject, code in stays:
        by_code[code][splits[subject]] += 1
    for counts in by_code.values():
        assert abs(counts["train"] - 14) <= 1
        assert abs(counts["validation"] - 2) <= 1
        assert abs(counts["test"] - 4) <= 1


def test_a_patient_counts_for_the_rarest_of_their_codes() -> None:
    # Ten patients share a rare code; each of them also has the frequent one.
    stays = [(number, "FREQUENT") for number in range(400)] + [(number, "RARE") for number in range(10)]
    splits = assigned(stays)
    assert Counter(splits[number] for number in range(10))["train"] in {6, 7, 8}


def test_the_same_seed_gives_the_same_splits_whatever_the_order() -> None:
    stays = long_tailed(300)
    assert assigned(stays) == assigned(list(reversed(stays)))


def test_another_seed_gives_other_splits() -> None:
    stays = long_tailed(300)
    assert assigned(stays) != assigned(stays, SplitSpec(seed=7))


def test_other_shares_are_kept_too() -> None:
    counts = Counter(assigned(long_tailed(1000), SplitSpec(train=0.5, validation=0.25, test=0.25)).values())
    assert abs(counts["validation"] - 250) <= 5


def test_shares_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(UserError, match=r"train \+ validation \+ test is 1\.1: make it 1"):
        split_spec(0.8, 0.1, 0.2, 1)


def test_a_share_out_of_range_is_named() -> None:
    with pytest.raises(UserError, match=r"--test: must be more than 0"):
        split_spec(0.9, 0.1, 0, 1)
