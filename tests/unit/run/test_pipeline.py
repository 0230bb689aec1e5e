from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd.errors import CrashError, UserError
from deepicd.run import pipeline
from deepicd.run.context import Context
from deepicd.run.pipeline import Stage, plan, run_pipeline
from deepicd.run.stage_record import digest
from deepicd.spec.load import load, parse
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics
from tests.by_path import changed
from tests.unit.stops import NeverStop

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


class Events:
    """A reporter that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def stage_started(self, stage: str) -> None:
        self.seen.append(("started", stage))

    def step(self, stage: str, row: StepMetrics, total: int | None, eta: float | None) -> None:
        self.seen.append(("step", stage))

    def stage_finished(self, stage: str, seconds: float, *, already: bool) -> None:
        self.seen.append(("already" if already else "finished", stage))


@pytest.fixture
def run() -> DeepICDRun:
    return load(SAMPLES / "quickstart.yaml")


def use(monkeypatch: pytest.MonkeyPatch, **acts: Callable[[Context], None]) -> None:
    """Replace the stages by given functions."""
    monkeypatch.setattr(pipeline, "plan", lambda run: [Stage(name, {"seed": run.spec.seed}, act) for name, act in acts.items()])


def nothing(context: Context) -> None:
    pass


def fail(error: BaseException) -> Callable[[Context], None]:
    def act(context: Context) -> None:
        raise error

    return act


def test_the_stages_follow_the_spec(run: DeepICDRun) -> None:
    assert [stage.name for stage in plan(run)] == ["prepare", "sft", "grpo", "evaluate"]


@pytest.mark.parametrize(
    ("field", "value", "changed"),
    [
        ("stages.sft.learningRate", 1e-9, {"sft", "grpo", "evaluate"}),
        ("stages.grpo.learningRate", 1e-9, {"grpo", "evaluate"}),
        ("reward.preset", "deepicd-r1", {"grpo", "evaluate"}),
        ("stages.evaluate.samples", 7, {"evaluate"}),
        ("recovery.stallAfter", "9m", set()),
        ("stages.grpo.microBatchSizePerGpu", 8, set()),
        ("stages.grpo.maxPromptTokens", 100, {"prepare", "sft", "grpo", "evaluate"}),
        ("stages.sft.maxTokens", 100, {"prepare", "sft", "grpo", "evaluate"}),
        ("model.prompt", {"user": "{note} <think> <diagnosis>"}, {"prepare", "sft", "grpo", "evaluate"}),
        ("stages.grpo.keepCheckpoints", 1, set()),
    ],
)
def test_a_setting_changes_its_own_stage_and_those_that_build_on_it(
    field: str, value: Any, changed: set[str], run: DeepICDRun, tmp_path: Path
) -> None:
    content = run.model_dump(by_alias=True, mode="json")
    *parents, last = field.split(".")
    place = content["spec"]
    for parent in parents:
        place = place[parent]
    place[last] = value
    other = DeepICDRun.model_validate(content)
    digests = [{stage.name: record.digest for stage, record in pipeline._records(each, tmp_path)} for each in (run, other)]
    assert {name for name in digests[0] if digests[0][name] != digests[1][name]} == changed


@pytest.fixture
def made_before(tmp_path: Path) -> Path:
    """A finished run's folder as version 0.1.0 left it: the digests in it are that version's."""
    return Path(shutil.copytree(Path(__file__).parent / "version_0_1_0" / "folder", tmp_path / "folder"))


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"spec__stages__sft__microBatchSizePerGpu": 4, "spec__stages__grpo__saveEverySteps": 5},
        {"spec__compute__memory": "64Gi", "spec__recovery__stallAfter": "9m", "spec__storage": {"folder": "/x", "keepLast": 1}},
    ],
)
def test_a_folder_that_version_0_1_0_made_resumes(change: dict[str, Any], made_before: Path) -> None:
    content = changed(yaml.safe_load((made_before / "run.yaml").read_text()), change)
    records = [record for _, record in pipeline._records(parse(content, "run.yaml"), made_before)]
    for record in records:
        record.check()
    assert [record.completed() is not None for record in records] == [True] * 4


def test_a_field_that_version_0_1_0_noted_and_that_may_change_is_not_compared(made_before: Path) -> None:
    """As if `microBatchSizePerGpu` had been noted with the rest."""
    inputs = made_before / "stages" / "sft.inputs.json"
    noted = json.loads(inputs.read_text())
    noted["stages"]["sft"]["microBatchSizePerGpu"] = 999
    inputs.write_text(json.dumps(noted))
    completed = made_before / "stages" / "sft.completed.json"
    completed.write_text(json.dumps({"digest": digest(noted), "seconds": 1.0}))
    run = load(made_before / "run.yaml")
    sft = next(record for stage, record in pipeline._records(run, made_before) if stage.name == "sft")
    sft.check()
    assert sft.completed() is not None


def test_a_folder_that_version_0_1_0_made_is_not_mixed_with_other_settings(made_before: Path) -> None:
    content = changed(yaml.safe_load((made_before / "run.yaml").read_text()), {"spec__stages__grpo__rollouts": 16})
    grpo = next(record for stage, record in pipeline._records(parse(content, "x"), made_before) if stage.name == "grpo")
    with pytest.raises(UserError, match=r"stages\.grpo\.rollouts differs"):
        grpo.check()


def test_a_failed_stage_goes_on_and_a_finished_one_is_not_done_again(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, prepare=nothing, sft=fail(CrashError("boom")))
    with pytest.raises(CrashError, match="sft: boom"):
        run_pipeline(run, tmp_path, NeverStop(), Events())
    use(monkeypatch, prepare=nothing, sft=nothing)
    events = Events()
    assert list(run_pipeline(run, tmp_path, NeverStop(), events)) == ["prepare", "sft"]
    assert events.seen == [("already", "prepare"), ("started", "sft"), ("finished", "sft")]


def test_changed_settings_are_refused_before_anything_is_touched(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, prepare=nothing, sft=nothing)
    run_pipeline(run, tmp_path, NeverStop(), Events())
    before = (tmp_path / "run.yaml").read_text()
    changed = run.model_copy(update={"spec": run.spec.model_copy(update={"seed": 1})})
    events = Events()
    with pytest.raises(UserError, match="seed differs"):
        run_pipeline(changed, tmp_path, NeverStop(), events)
    assert events.seen == []
    assert (tmp_path / "run.yaml").read_text() == before


def test_a_run_up_to_a_stage_ends_after_it(run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, prepare=nothing, sft=nothing, grpo=fail(AssertionError()))
    assert list(run_pipeline(run, tmp_path, NeverStop(), Events(), last="sft")) == ["prepare", "sft"]


def test_a_full_disk_is_for_the_user_to_mend(run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, prepare=fail(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="the disk is full: free space, then run again"):
        run_pipeline(run, tmp_path, NeverStop(), Events())
