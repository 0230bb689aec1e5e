"""A run's folder and its store as version 0.1.0 wrote them are read by this one.

`version_0_1_0` holds a finished run of a tiny model. Weights, tokenizers and logs are each a line of text, which the manifests
list with its size and digest; tables, cohort and prompts were left out.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deepicd.artifacts import latest
from deepicd.artifacts.layout import CheckpointRef, ModelRef, manifest_key
from deepicd.artifacts.store.base import Store
from deepicd.cli import artifacts
from deepicd.phases import PhaseStart
from deepicd.run.pipeline import run_pipeline
from deepicd.run.stored import restore_stage, store_of
from deepicd.run_layout import RunLayout
from deepicd.spec.load import load
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics, all_steps
from tests.unit.stops import NeverStop

EARLIER = Path(__file__).with_name("version_0_1_0")
STAGES = ("prepare", "sft", "grpo", "evaluate")


class Finished:
    """A reporter that expects no work."""

    def __init__(self) -> None:
        self.already: list[str] = []

    def stage_started(self, stage: str) -> None:
        pytest.fail(f"{stage} began")

    def phase(self, stage: str, start: PhaseStart) -> None:
        pass

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        pytest.fail(f"{stage} made a step")

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        assert already
        self.already.append(stage)


@pytest.fixture
def layout(tmp_path: Path) -> RunLayout:
    """Copies of the run's folder, and beside it of the store that it names."""
    shutil.copytree(EARLIER, tmp_path, dirs_exist_ok=True)
    found = RunLayout(tmp_path / "folder")
    for path in (found.spec, found.writer):
        path.write_text(path.read_text().replace("/data/store", str(tmp_path / "store")))
    return found


@pytest.fixture
def run(layout: RunLayout) -> DeepICDRun:
    return load(layout.spec)


@pytest.fixture
def store(run: DeepICDRun) -> Store:
    found = store_of(run)
    assert found is not None
    return found


def content(store: Store) -> dict[str, bytes]:
    read = {item.key: store.read(item.key) for item in store.list()}
    return {key: found[0] for key, found in read.items() if found is not None}


def test_a_finished_run_has_nothing_left_to_do(run: DeepICDRun, layout: RunLayout) -> None:
    reporter = Finished()
    run_pipeline(run, layout.folder, NeverStop(), reporter)
    assert reporter.already == list(STAGES)


def test_what_is_stored_stays_as_it_is(run: DeepICDRun, layout: RunLayout, store: Store) -> None:
    before = content(store)
    assert manifest_key(ModelRef(1, "grpo")) in before
    run_pipeline(run, layout.folder, NeverStop(), Finished())
    assert content(store) == before


def test_another_machine_has_models_and_curves_from_the_store(layout: RunLayout, store: Store, tmp_path: Path) -> None:
    other = RunLayout(tmp_path / "other")
    for stage in ("sft", "grpo"):
        assert restore_stage(store, stage, other.stage(stage).folder)
        here, there = layout.stage(stage), other.stage(stage)
        assert (there.model / "config.json").read_text() == (here.model / "config.json").read_text()
        assert all_steps(there.metrics) == all_steps(here.metrics) != []


def test_another_machine_resumes_from_the_newest_checkpoint(store: Store, tmp_path: Path) -> None:
    stage = RunLayout(tmp_path / "other").stage("grpo")
    store.delete([manifest_key(ModelRef(1, "grpo"))])
    resumed: list[str] = []
    assert not restore_stage(store, "grpo", stage.folder, resumed.append)
    newest = latest.read(store)
    assert newest is not None
    assert newest.ref == CheckpointRef(1, "grpo", stage.checkpoints.last_step)
    assert resumed == [f"{store.url}/{newest.ref.folder}"]
    assert any(stage.checkpoints.last.iterdir())


def test_the_commands_read_the_store(store: Store) -> None:
    listed = CliRunner().invoke(artifacts.app, ["ls", store.url, "--json"])
    (found,) = json.loads(listed.stdout)
    assert found["attempts"] == [1]
    assert [item["damaged"] for item in found["committed"]] == [False] * len(found["committed"])
    assert set(found["macroF1"]["1"]) == {"base", "sft", "grpo"}
    verified = CliRunner().invoke(artifacts.app, ["verify", store.url])
    assert verified.exit_code == 0
    assert verified.stdout.count("whole") == len(found["committed"])
