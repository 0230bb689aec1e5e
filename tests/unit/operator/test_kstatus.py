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
        ({"Failed": "True", "Running": "False"}, "Current"),  # our own conditions mean nothing to kstatus
    ],
)
def test_conditions_decide(conditions: dict[str, str], verdict: Verdict) -> None:
    listed = [{"type": kind, "status": status} for kind, status in conditions.items()]
    assert kstatus({"metadata": {"generation": 3}, "status": {"observedGeneration": 3, "conditions": listed}}) == verdict


def test_a_spec_that_the_operator_has_not_seen_is_in_progress_whatever_the_conditions() -> None:
    stalled = [{"type": "Stalled", "status": "True"}]
    assert kstatus({"metadata": {"generation": 3}, "status": {"observedGeneration": 2, "conditions": stalled}}) == "InProgress"
    assert kstatus({"metadata": {"generation": 1}, "status": {"observedGeneration": -1}}) == "InProgress"


def test_an_object_without_a_status_counts_as_current() -> None:
    assert kstatus({"metadata": {"generation": 1}}) == "Current"


def test_an_object_being_deleted_is_terminating() -> None:
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
def test_kstatus_understands_the_operators_statuses(story: Callable[[], Story], verdict: Verdict) -> None:
    state = story()
    assert kstatus({"metadata": {"generation": state.generation}, "status": write_status(state.status)}) == verdict
