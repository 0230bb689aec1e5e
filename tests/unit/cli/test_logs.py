from __future__ import annotations

import math

import pytest

from deepicd.cli.logs import for_people, rounded


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345678901234567, "0.1235"), (-1.2346e-05, "-1.235e-05"), (12345.678, "12346"), (3.0, "3.0"), (7, "7"),
        (True, "True"), (math.inf, "inf"),
    ],
)  # fmt: skip
def test_fractions_have_four_digits_and_whole_numbers_all_of_theirs(value: float, text: str) -> None:
    assert str(rounded(None, "", {"value": value})["value"]) == text


def test_people_read_an_event_with_its_values_or_with_its_own_wording() -> None:
    line = {"timestamp": "12:05:40", "level": "info", "event": "restored", "stage": "grpo", "what": "step 3"}
    assert for_people(None, "", {**line}) == "12:05:40 restored: stage grpo, what step 3"
    assert for_people(None, "", {**line, "text": "grpo from step 3"}) == "12:05:40 restored: grpo from step 3"


def test_people_read_the_level_of_what_needs_attention() -> None:
    assert for_people(None, "", {"timestamp": "12:05:40", "level": "warning", "event": "late"}) == "12:05:40 warning: late"
