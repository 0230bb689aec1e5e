from __future__ import annotations

from dataclasses import replace

from deepicd_operator.settings import PatchLevel
from tests.unit.operator.builders import SETTINGS, JobMade, PodMade, Story, at

HOST = {"spec": {"hostNetwork": True}}
ALLOWING = replace(SETTINGS, pod_template_patch=PatchLevel.ANY, privileged=True)


def test_a_run_that_asks_for_too_much_is_refused_before_anything_is_created() -> None:
    story = Story(compute__podTemplatePatch=HOST)
    story.now(0)
    assert story.condition("Accepted") == ("False", "NotAllowed")
    assert "compute.podTemplatePatch.spec.hostNetwork" in story.message("Accepted")
    assert (story.made, story.status.attempts, story.status.reason) == ([], (), "NotAllowed")
    written = story.status
    story.now(60)
    assert story.status == written
    del story.spec["compute"]["podTemplatePatch"]
    story.now(70)
    assert story.condition("Accepted") == ("True", "Valid")
    assert story.made


def test_a_running_attempt_continues_when_the_policy_is_tightened_and_the_next_one_is_refused() -> None:
    story = Story(compute__podTemplatePatch=HOST)
    story.settings = ALLOWING
    story.running()
    story.settings = SETTINGS
    story.now(2, JobMade(), PodMade().running(at(1)))
    assert (story.status.state, story.deleted) == ("Running", [])
    story.now(3, JobMade().failed(), PodMade().ended(1))
    story.now(60, JobMade().failed())
    assert (story.status.state, story.status.reason, len(story.status.attempts)) == ("Pending", "NotAllowed", 1)
    assert story.made == []


def test_an_attempt_without_a_job_is_not_started_from_a_refused_spec() -> None:
    story = Story()
    story.now(0)
    story.spec["compute"]["podTemplatePatch"] = HOST
    story.now(1)
    assert story.made == []
    assert story.condition("Accepted") == ("False", "NotAllowed")
