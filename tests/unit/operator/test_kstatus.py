from __future__ import annotations

import pytest

from tests.unit.operator.kstatus import Verdict, kstatus


@pytest.mark.parametrize(
    ("conditions", "verdict"),
    [
        ({}, "Current"),
        ({"Reconciling": "True", "Stalled": "False"}, "InProgress"),
        ({"Reconciling": "False", "Stalled": "True"}, "Failed"),
        ({"Reconciling": "False", "Stalled": "False"}, "Current"),
        ({"Reconciling": "True", "Stalled": "True"}, "InProgress"),  # whichever comes first
        ({"Stalled": "True", "Reconciling": "True"}, "Failed"),
        ({"Ready": "False"}, "InProgress"),
        ({"Ready": "Unknown"}, "InProgress"),
        ({"Ready": "False", "Stalled": "True"}, "Failed"),
        ({"Failed": "True", "Running": "False"}, "Current"),  # its own words are not kstatus'
    ],
)
def test_conditions_decide(conditions: dict[str, str], verdict: Verdict) -> None:
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    assert kstatus({"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "conditions": listed}}) == verdict


def test_a_spec_that_was_not_seen_yet_is_in_progress_whatever_else_is_said() -> None:
    stalled = [{"type": "Stalled", "status": "True"}]
    assert kstatus({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "conditions": stalled}}) == "InProgress"
    assert kstatus({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}) == "InProgress"


def test_without_a_status_an_object_is_taken_for_current() -> None:
    assert kstatus({"metadata": {"generation": 1}}) == "Current"


def test_what_is_being_deleted_is_terminating() -> None:
    assert kstatus({"metadata": {"generation": 1, "deletionTimestamp": "2026-04-01T12:00:00Z"}}) == "Terminating"
