from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepicd.spec.base import format_duration, format_size, parse_duration, parse_size, parse_time_limit


@given(st.integers(min_value=0, max_value=10**7))
def test_a_duration_survives_being_written_and_read(seconds: int) -> None:
    duration = timedelta(seconds=seconds)
    assert parse_duration(format_duration(duration)) == duration


@given(st.integers(min_value=0, max_value=2**50))
def test_a_size_in_whole_kibibytes_survives_being_written_and_read(kibibytes: int) -> None:
    assert parse_size(format_size(kibibytes * 1024)) == kibibytes * 1024


@pytest.mark.parametrize("text", ["30", "30 m", "m", "-1m", "1.5h", "", "30min"])
def test_text_without_a_known_unit_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="whole number and a unit"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["64", "64GB", "Gi", "1.5Gi", ""])
def test_text_without_a_binary_unit_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="binary unit"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0s", "00m", "0d", "090s"])
def test_a_time_limit_is_more_than_0(text: str) -> None:
    with pytest.raises(ValueError, match="must be more than 0"):
        parse_time_limit(text)


def test_a_time_limit_is_a_duration() -> None:
    assert parse_time_limit("90s") == timedelta(seconds=90)
    with pytest.raises(ValueError, match="whole number and a unit"):
        parse_time_limit("-90s")
