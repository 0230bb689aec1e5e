"""GRPO over two nodes: a real Ray cluster of two raylets, which `deepicd run` joins."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepicd.training.stage_files import StageFiles
from tests.training.deepicd_process import DeepicdProcess
from tests.training.ray_nodes import RayNodes, ray_nodes
from tests.training.runs import GRPO, write_run

pytestmark = [pytest.mark.training, pytest.mark.timeout(1800)]

STEPS = 3
SHORT_GRPO = {**GRPO, "saveEverySteps": 50, "validateEverySteps": 50, "maxValidationAdmissions": 4}
NODES = 2


@dataclass
class Story:
    """What happened."""

    code: int
    text: str
    steps: list[int]
    stage: Path
    idle_meanwhile: list[float]
    """Idle GPUs by node while steps were made."""
    idle_after: list[float]
    left: list[str]


@pytest.fixture(scope="module")
def nodes() -> Iterator[RayNodes]:
    with ray_nodes(Path(tempfile.mkdtemp(prefix="ray-")), NODES) as cluster:
        yield cluster


def command(cohort: Path, home: Path, cluster: RayNodes, steps: int) -> tuple[str, ...]:
    """The arguments of a run on the nodes."""
    overrides = [f"++ray_kwargs.ray_init.runtime_env.py_executable={cluster.python}"]
    stages = {"grpo": {**SHORT_GRPO, "maxSteps": steps, "overrides": overrides}, "evaluate": None}
    compute = {"gpus": 1, "nodes": NODES, "scratch": {"storageClass": "shared"}}
    run = write_run(home / "run.yaml", "two-nodes", {"prepared": str(cohort)}, stages, compute=compute)
    return ("run", str(run), "--dir", str(home / "run"))


@pytest.fixture(scope="module")
def story(nodes: RayNodes, cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("nodes")
    process = DeepicdProcess(*command(cohort, home, nodes, STEPS), variables=nodes.variables)
    process.wait_for_step("grpo", 1)
    tree, meanwhile = process.tree(), nodes.idle_gpus()
    code = process.finish()
    # Ray's own processes and memory remain: they are not the run's.
    left = [each for each in process.left_behind(tree) if "/dev/shm" not in each]
    stage = home / "run" / "stages" / "grpo"
    return Story(code, process.text, process.steps("grpo"), stage, meanwhile, nodes.idle_gpus_once_all_are(), left)


def test_the_run_ends_well(story: Story) -> None:
    assert story.code == 0, story.text[-3000:]
    assert story.steps[-1] == STEPS


def test_every_node_trains(story: Story) -> None:
    assert story.idle_meanwhile == [0] * NODES


def test_each_rank_has_written_its_shard(story: Story) -> None:
    checkpoint = story.stage / "checkpoints" / f"global_step_{STEPS}" / "actor"
    shards = sorted(path.name for path in checkpoint.glob("model_world_size_*"))
    assert shards == [f"model_world_size_{NODES}_rank_{rank}.pt" for rank in range(NODES)]


def test_the_final_model_is_whole(story: Story) -> None:
    from safetensors import safe_open

    with safe_open(story.stage / "model" / "model.safetensors", "pt") as weights:
        names = set(weights.keys())
    assert {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"} <= names
    assert {"config.json", "tokenizer.json"} <= {path.name for path in (story.stage / "model").iterdir()}


def test_the_cluster_is_as_it_was(story: Story) -> None:
    assert story.idle_after == [1] * NODES
    assert story.left == []


@pytest.mark.long
def test_sigterm_saves_a_checkpoint_that_the_next_launch_resumes_from(nodes: RayNodes, cohort: Path, tmp_path: Path) -> None:
    last = 6
    arguments = command(cohort, tmp_path, nodes, last)
    first = DeepicdProcess(*arguments, variables=nodes.variables)
    first.wait_for_step("grpo", 1)
    first.process.send_signal(signal.SIGTERM)
    assert first.finish() == 143
    saved = StageFiles(tmp_path / "run" / "stages" / "grpo").checkpoints.last_step
    assert 1 <= saved < last
    again = DeepicdProcess(*arguments, variables=nodes.variables)
    assert again.finish() == 0, again.text[-3000:]
    assert again.steps("grpo") == list(range(saved + 1, last + 1))
