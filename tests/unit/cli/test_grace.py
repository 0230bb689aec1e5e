from __future__ import annotations

import time
from pathlib import Path

import pytest

from deepicd.cli.grace import REPORT_RESERVE_SECONDS, began_before_us, grace, termination_began


def test_without_a_mark_the_period_counts_from_sigterm() -> None:
    allowed = grace(300, asked=1000, began=None)
    assert (allowed.give_up, allowed.end) == (1300 - REPORT_RESERVE_SECONDS, 1300)


def test_with_a_mark_the_period_counts_from_the_pods_termination() -> None:
    allowed = grace(300, asked=1200, began=1000)
    assert (allowed.give_up, allowed.end) == (1300 - REPORT_RESERVE_SECONDS, 1300)


@pytest.mark.parametrize("period", [0.0, 1.0, 2.0, 5.0, 6.0, 600.0])
@pytest.mark.parametrize("late", [0.0, 1.0, 599.0, 700.0])
def test_there_is_always_time_to_upload_and_time_to_leave(period: float, late: float) -> None:
    allowed = grace(period, asked=late, began=0)
    assert late + min(0.5, period / 2) <= allowed.give_up <= allowed.end - 1
    assert allowed.end <= max(period, late + 2)


def test_a_short_period_is_halved() -> None:
    assert grace(5, asked=0, began=0).give_up == 2.5


def uptime() -> float:
    return float(Path("/proc/uptime").read_text().split()[0])


def test_the_mark_is_read_as_the_hook_leaves_it(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text(f"{uptime() - 100:.2f} 5.00\n")
    began = termination_began(tmp_path / "mark")
    assert began is not None
    assert began == pytest.approx(time.monotonic() - 100, abs=30)


def test_a_mark_of_the_future_counts_as_now(tmp_path: Path) -> None:
    (tmp_path / "mark").write_text(f"{uptime() + 1000:.2f} 5.00\n")
    began = termination_began(tmp_path / "mark")
    assert began is not None
    assert began <= time.monotonic()


@pytest.mark.parametrize("text", [None, "", "soon"])
def test_without_a_mark_that_can_be_read_there_is_none(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "mark").write_text(text)
    assert termination_began(tmp_path / "mark") is None


def test_only_a_mark_that_is_younger_than_the_process_says_that_sigterm_may_be_missed(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    assert not began_before_us(mark)
    mark.write_text("0.01 0.00\n")
    assert not began_before_us(mark)
    mark.write_text(Path("/proc/uptime").read_text())
    assert began_before_us(mark)
