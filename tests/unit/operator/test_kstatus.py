from __future__ import annotations

from collections.abc import Callable

import pytest

from deepicd_operator.status import write_status
from tests.unit.operator.builders import JobMade, PodMade, Story, at
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


def created() -> Story:
    story = Story()
    story.now(0)
    return story


def suspended() -> Story:
    story = Story(suspend=True)
    story.now(0)
    return story


def broken(story: Story) -> Story:
    story.spec["model"] = {}
    story.now(20, *((JobMade(), PodMade().running(at(1))) if story.status.attempt else ()))
    return story


def over(code: int) -> Story:
    story = Story().running()
    story.now(60, JobMade().complete() if code == 0 else JobMade().failed(), PodMade().ended(code))
    return story


STORIES: list[tuple[Callable[[], Story], Verdict]] = [
    (created, "InProgress"),
    (lambda: Story().running(), "InProgress"),
    (lambda: over(70), "InProgress"),
    (suspended, "Current"),
    (lambda: over(0), "Current"),
    (lambda: over(64), "Failed"),
    (lambda: broken(Story()), "Failed"),
    (lambda: broken(Story().running()), "InProgress"),
]


@pytest.mark.parametrize(("story", "verdict"), STORIES)
def test_the_operators_statuses_say_how_a_run_stands(story: Callable[[], Story], verdict: Verdict) -> None:
    told = story()
    assert kstatus({"metadata": {"generation": told.generation}, "status": write_status(told.status)}) == verdict
