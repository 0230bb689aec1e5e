"""The health check of the platform guide, run by a Lua of Argo CD's version, on statuses that the operator writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa import lua51

from deepicd_operator.status import write_status
from tests.unit.operator.builders import JobMade, PodMade, Story, at

GUIDE = Path(__file__).parents[3] / "docs" / "guide" / "platform.md"
KEY = "resource.customizations.health.deepicd.io_DeepICDRun"
FAILURE = '{"code": "BadInput", "message": "spec.model.path: is no model"}'


def health_check() -> str:
    """The Lua text of the guide."""
    blocks = [block.partition("```")[0] for block in GUIDE.read_text().split("```yaml\n")[1:]]
    (config_map,) = (yaml.safe_load(block) for block in blocks if KEY in block)
    return str(config_map["data"][KEY])


def health(status: dict[str, Any] | None, generation: int = 1) -> tuple[str, str]:
    """Health and message of a run with this status."""
    lua = lua51.LuaRuntime()
    run = {"metadata": {"name": "night-run", "generation": generation}, "spec": {}}
    lua.globals().obj = lua.table_from(run if status is None else run | {"status": status}, recursive=True)
    found = lua.execute(health_check())
    return found.status, found.message


def of(story: Story) -> tuple[str, str]:
    return health(write_status(story.status), story.generation)


def test_a_run_without_a_status_is_progressing() -> None:
    for status in (None, {}, {"observedGeneration": -1}):
        assert health(status) == ("Progressing", "the operator has not seen this spec yet")


def test_a_run_that_waits_is_progressing_with_what_it_waits_for() -> None:
    story = Story()
    story.now(0)
    story.now(5, JobMade(), PodMade().unschedulable("0/4 nodes are available"))
    state, message = of(story)
    assert state == "Progressing"
    assert message.startswith("no node has room for the pod (0/4 nodes are available")


def test_a_running_run_is_progressing() -> None:
    state, message = of(Story().running())
    assert state == "Progressing"
    assert message


def test_a_succeeded_run_is_healthy() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0))
    assert story.status.state == "Succeeded"
    assert of(story)[0] == "Healthy"


def test_a_failed_run_is_degraded_with_the_message_of_its_reason() -> None:
    story = Story().running()
    story.now(60, JobMade().failed(), PodMade().ended(64, message=FAILURE))
    assert story.status.state == "Failed"
    state, message = of(story)
    assert state == "Degraded"
    assert "spec.model.path: is no model" in message


def test_a_suspended_run_is_suspended_once_it_has_stopped() -> None:
    story = Story().running()
    story.spec["suspend"], story.generation = True, 2
    story.now(60, JobMade(), PodMade().running(at(1)))
    assert of(story)[0] == "Progressing"
    story.now(70)
    assert story.status.state == "Suspended"
    assert of(story)[0] == "Suspended"


def test_a_changed_spec_is_progressing_until_the_operator_has_seen_it() -> None:
    story = Story(suspend=True)
    story.now(0)
    assert of(story)[0] == "Suspended"
    story.generation = 2
    assert of(story) == ("Progressing", "the operator has not seen this spec yet")


@pytest.mark.parametrize("runs", [False, True])
def test_a_spec_that_is_not_accepted_is_degraded_with_what_is_wrong(runs: bool) -> None:
    story = Story().running() if runs else Story()
    story.spec["seed"], story.generation = "many", 2
    story.now(60, *((JobMade(), PodMade().running(at(1))) if runs else ()))
    state, message = of(story)
    assert state == "Degraded"
    assert "seed" in message


def test_a_change_that_is_not_accepted_leaves_a_succeeded_run_healthy() -> None:
    story = Story().running()
    story.now(60, JobMade().complete(), PodMade().ended(0))
    story.spec["seed"], story.generation = "many", 2
    story.now(70)
    assert of(story)[0] == "Healthy"
