"""GRPO over two nodes: a real Ray cluster of two raylets, which `deepicd run` joins."""

from __future__ import annotations

import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from deepicd.training.stage_files import StageFiles
from tests.training.deepicd_process import DeepicdProcess
from tests.training.ray_nodes import ray_nodes
from tests.training.runs import GRPO, write_run

pytestmark = [pytest.mark.training, pytest.mark.timeout(1800)]

SHORT_GRPO = {**GRPO, "maxSteps": 6, "saveEverySteps": 50, "maxValidationAdmissions": 4}
NODES = 2


@dataclass
class Story:
    """What happened."""

    stopped: tuple[int, int]
    """Exit code after SIGTERM, and the step of the newest checkpoint."""
    code: int
    """Of the second launch."""
    text: str
    steps: list[int]
    """Of the second launch."""
    stage: Path
    idle_meanwhile: list[float]
    """Idle GPUs by node while steps were made."""
    idle_after: list[float]
    left: list[str]


@pytest.fixture(scope="module")
def story(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    home = tmp_path_factory.mktemp("nodes")
    compute = {"gpus": 1, "nodes": NODES, "scratch": {"storageClass": "shared"}}
    stage = home / "run" / "stages" / "grpo"
    with ray_nodes(Path(tempfile.mkdtemp(prefix="ray-")), NODES) as cluster:
        stages = {
            "grpo": {**SHORT_GRPO, "overrides": [f"++ray_kwargs.ray_init.runtime_env.py_executable={cluster.python}"]},
            "evaluate": None,
        }
        run = write_run(home / "run.yaml", "two-nodes", {"prepared": str(cohort)}, stages, compute=compute)
        command, variables = ("run", str(run), "--dir", str(home / "run")), {"RAY_ADDRESS": cluster.address}
        first = DeepicdProcess(*command, variables=variables)
        first.wait_for_step("grpo", 1)
        meanwhile = cluster.idle_gpus()
        first.process.send_signal(signal.SIGTERM)
        stopped = (first.finish(), StageFiles(stage).checkpoints.last_step)
        process = DeepicdProcess(*command, variables=variables)
        process.wait_for_step("grpo", stopped[1] + 1)
        tree = process.tree()
        code = process.finish()
        # Ray's own processes and memory remain: they are not the run's.
        left = [each for each in process.left_behind(tree) if "/dev/shm" not in each]
        after = cluster.idle_gpus_once_all_are()
    return Story(stopped, code, process.text, process.steps("grpo"), stage, meanwhile, after, left)


def test_the_run_ends_well(story: Story) -> None:
    assert story.code == 0, story.text[-3000:]
    assert story.steps[-1] == SHORT_GRPO["maxSteps"]


def test_sigterm_saves_a_checkpoint_that_the_next_launch_resumes_from(story: Story) -> None:
    code, step = story.stopped
    assert code == 143
    assert 1 <= step < SHORT_GRPO["maxSteps"]
    assert story.steps[0] == step + 1


def test_every_node_trains(story: Story) -> None:
    assert story.idle_meanwhile == [0] * NODES


def test_each_rank_has_written_its_shard(story: Story) -> None:
    checkpoint = story.stage / "checkpoints" / f"global_step_{SHORT_GRPO['maxSteps']}" / "actor"
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
