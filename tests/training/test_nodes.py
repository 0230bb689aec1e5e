"""GRPO over two nodes: a real Ray cluster of two raylets, which `deepicd run` joins."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.training.deepicd_process import DeepicdProcess
from tests.training.ray_nodes import ray_nodes
from tests.training.runs import GRPO, write_run

pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]

SHORT_GRPO = {**GRPO, "maxSteps": 2, "saveEverySteps": 1, "maxValidationAdmissions": 4}
NODES = 2


@dataclass
class Story:
    """What happened."""

    code: int
    text: str
    steps: list[int]
    stage: Path
    left: list[str]


@pytest.fixture(scope="module")
def story(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("nodes")
    compute = {"gpus": 1, "nodes": NODES, "scratch": {"storageClass": "shared"}}
    stages = {"grpo": SHORT_GRPO, "evaluate": None}
    run = write_run(home / "run.yaml", "two-nodes", {"prepared": str(cohort)}, stages, compute=compute)
    with ray_nodes(Path(tempfile.mkdtemp(prefix="ray-")), NODES) as address:
        process = DeepicdProcess("run", str(run), "--dir", str(home / "run"), variables={"RAY_ADDRESS": address})
        process.wait_for_step("grpo", 1)
        tree = process.tree()
        code = process.finish()
        left = process.left_behind(tree)
    return Story(code, process.text, process.steps("grpo"), home / "run" / "stages" / "grpo", left)


def test_the_run_ends_well(story: Story) -> None:
    assert story.code == 0, story.text[-3000:]
    assert story.steps[-1] == SHORT_GRPO["maxSteps"]
