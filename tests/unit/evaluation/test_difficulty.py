from __future__ import annotations

from pathlib import Path

import pytest

from deepicd.evaluation.difficulty import choose, count_solved, read_solved
from deepicd.spec.training import DifficultySpec

SOLVED = {"a": 0, "b": 1, "c": 3, "d": 4}


def test_nothing_is_left_out_by_default() -> None:
    found = choose(SOLVED, DifficultySpec(samples=4))
    assert (found.kept, found.histogram) == (frozenset("abcd"), (1, 1, 0, 1, 1))


@pytest.mark.parametrize(
    ("sides", "kept", "dropped"),
    [
        ({"drop_solved": 1}, "abc", (1, 0)),
        ({"drop_unsolved": 0}, "bcd", (0, 1)),
        ({"drop_solved": 0.75}, "ab", (2, 0)),
        ({"drop_solved": 1, "drop_unsolved": 0.25}, "c", (1, 2)),
        ({"drop_solved": 0.25, "drop_unsolved": 0.25}, "", (3, 1)),
    ],
)
def test_each_side_leaves_out_its_own(sides: dict[str, float], kept: str, dropped: tuple[int, int]) -> None:
    settings = DifficultySpec(samples=4, **sides)
    found = choose(SOLVED, settings)
    assert found.kept == frozenset(kept)
    assert (found.dropped_solved, found.dropped_unsolved) == dropped
    written = found.to_json(settings)
    assert written["prompts"] == written["kept"] + written["droppedSolved"] + written["droppedUnsolved"] == 4


def test_a_completion_solves_by_its_code_and_a_local_code_can_be_right() -> None:
    right, wrong = ("x</think><diagnosis>M51.16</diagnosis>", False), ("x</think><diagnosis>M5117</diagnosis>", False)
    row = {"code": "M5116", "extra_info": {"local_code": False}}
    assert count_solved([right, wrong, right, ("no code", True)], row, opened_think=True) == 2
    local = {"code": "M5199", "extra_info": {"local_code": True}}
    assert count_solved([("x</think><diagnosis>M5199</diagnosis>", False)], local, opened_think=True) == 1


def test_a_torn_line_is_sampled_again(tmp_path: Path) -> None:
    path = tmp_path / "solved.jsonl"
    assert read_solved(path) == {}
    path.write_text('{"id": "a", "solved": 2}\n{"id": "b", "sol')
    assert read_solved(path) == {"a": 2}
