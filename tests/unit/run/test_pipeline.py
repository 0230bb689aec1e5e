from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from deepicd import prompt
from deepicd.data.prompts import PromptCounts
from deepicd.errors import CrashError, UserError
from deepicd.phases import PhaseStart
from deepicd.prompt import Asked
from deepicd.run import pipeline
from deepicd.run.context import Context
from deepicd.run.pipeline import Stage, plan, run_pipeline
from deepicd.run.stage_record import digest
from deepicd.run_layout import RunLayout
from deepicd.spec.data import NotesSource
from deepicd.spec.load import load, parse
from deepicd.spec.run import DeepICDRun
from deepicd.training.step_metrics import StepMetrics
from tests.by_path import changed
from tests.unit.stops import NeverStop

SAMPLES = Path(__file__).parents[3] / "manifests" / "samples"


class Events:
    """A reporter that records its calls."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def stage_started(self, stage: str) -> None:
        self.seen.append(("started", stage))

    def phase(self, stage: str, start: PhaseStart) -> None:
        pass

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


def write_prompts(run: DeepICDRun, folder: Path, asked: Asked) -> None:
    """Write the file by which `prepare` records its prompts."""
    sft = run.spec.stages.sft
    counts = PromptCounts(asked.prompt, asked.max_prompt_tokens, {}, 0, 0.0, None if sft is None else sft.max_tokens)
    counts.write(RunLayout(folder).stage("prepare").prompts)


def prepared(context: Context) -> None:
    write_prompts(context.run, context.layout.folder, prompt.asked(context.run.spec))


def fail(error: BaseException) -> Callable[[Context], None]:
    def act(context: Context) -> None:
        raise error

    return act


def test_files_of_notes_are_inputs_of_prepare_by_their_size(tmp_path: Path) -> None:
    run = load(SAMPLES / "own-notes.yaml")
    source = NotesSource(files=(str(tmp_path / "n-*.csv"), str(tmp_path / "n-2.csv")))
    data = run.spec.data.model_copy(update={"notes": source, "traces": None})
    run = run.model_copy(update={"spec": run.spec.model_copy(update={"data": data})})
    for name, size in (("n-1.csv", 3), ("n-2.csv", 4), ("m.csv", 5)):
        (tmp_path / name).write_text("x" * size)
    assert plan(run)[0].inputs["tables"] == {str(tmp_path / "n-1.csv"): 3, str(tmp_path / "n-2.csv"): 4}


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
        ("stages.grpo.maxPromptTokens", 100, {"grpo", "evaluate"}),
        ("stages.sft.maxTokens", 100, {"sft", "grpo", "evaluate"}),
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


def test_the_default_prompt_written_out_is_the_default_left_out(run: DeepICDRun, tmp_path: Path) -> None:
    content = run.model_dump(by_alias=True, mode="json")
    found = []
    for prompt_given in (None, {"preset": "deepicd"}):
        content["spec"]["model"]["prompt"] = prompt_given
        records = pipeline._records(DeepICDRun.model_validate(content), tmp_path)
        found.append([record.digest for _, record in records])
    assert found[0] == found[1]


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
    """As if `microBatchSizePerGpu` had been recorded with the rest."""
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


@pytest.mark.parametrize(
    ("kept", "again"),
    [
        (Asked(prompt.DEEPICD, 100, 50), False),
        (Asked(prompt.DEEPICD, 99, 50), True),
        (Asked(prompt.Prompt("{note}"), 100, 50), True),
        (None, True),
    ],
    ids=["its own", "another budget", "another prompt", "of an earlier version"],
)
def test_notes_are_shortened_again_if_a_remaining_stage_has_another_budget(
    kept: Asked | None, again: bool, run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {"spec__stages__grpo__maxPromptTokens": 100, "spec__model__prompt": {"preset": "deepicd"}}
    content = changed(run.model_dump(by_alias=True, mode="json"), asked)
    run = parse(content, "run.yaml")
    use(monkeypatch, prepare=nothing, sft=fail(CrashError("boom")))
    with pytest.raises(CrashError):
        run_pipeline(run, tmp_path, NeverStop(), Events())
    if kept is not None:
        write_prompts(run, tmp_path, kept)
    use(monkeypatch, prepare=nothing, sft=nothing)
    events = Events()
    run_pipeline(run, tmp_path, NeverStop(), events)
    assert (("started", "prepare") in events.seen) is again
    finished = Events()
    run_pipeline(run, tmp_path, NeverStop(), finished)
    assert finished.seen == [("already", "prepare"), ("already", "sft")], "nothing is to come that would read them"


@pytest.mark.parametrize("damaged", ["prompts.json", "test.parquet"])
def test_prompts_that_are_damaged_are_written_again(
    damaged: str, run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, prepare=prepared, sft=fail(CrashError("boom")))
    with pytest.raises(CrashError):
        run_pipeline(run, tmp_path, NeverStop(), Events())
    path = RunLayout(tmp_path).stage("prepare").prompts / damaged
    path.write_bytes(b"PAR1\0\0")

    def prepare_again(context: Context) -> None:
        path.unlink()
        prepared(context)

    use(monkeypatch, prepare=prepare_again, sft=nothing)
    events = Events()
    run_pipeline(run, tmp_path, NeverStop(), events)
    assert ("started", "prepare") in events.seen


def test_a_failed_stage_resumes_and_a_finished_one_is_not_repeated(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, prepare=prepared, sft=fail(CrashError("boom")))
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


def test_a_full_disk_is_for_the_user_to_fix(run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, prepare=fail(OSError(errno.ENOSPC, "No space left on device")))
    with pytest.raises(UserError, match="the disk is full: free space, then run again"):
        run_pipeline(run, tmp_path, NeverStop(), Events())


def with_distillation(run: DeepICDRun, **fields: Any) -> DeepICDRun:
    content = run.model_dump(by_alias=True, mode="json")
    teacher = {"endpoint": "http://127.0.0.1:1/v1", "name": "teacher", **fields.pop("teacher", {})}
    content["spec"]["stages"]["distill"] = {"teacher": teacher, **fields}
    return DeepICDRun.model_validate(content)


def test_distillation_comes_between_prepare_and_sft(run: DeepICDRun) -> None:
    assert [stage.name for stage in plan(with_distillation(run))] == ["prepare", "distill", "sft", "grpo", "evaluate"]


@pytest.mark.parametrize(
    ("fields", "changed"),
    [
        ({"samples": 9}, {"distill", "sft", "grpo", "evaluate"}),
        ({"filters": {"later": 1}}, {"distill", "sft", "grpo", "evaluate"}),
        ({"teacher": {"concurrency": 9, "giveUpAfter": "9m", "prices": {"prompt": 1}}}, set()),
    ],
)
def test_a_setting_of_distillation_changes_what_learns_from_it(
    fields: dict[str, Any], changed: set[str], run: DeepICDRun, tmp_path: Path
) -> None:
    both = (with_distillation(run), with_distillation(run, **fields))
    digests = [{stage.name: record.digest for stage, record in pipeline._records(each, tmp_path)} for each in both]
    assert {name for name in digests[0] if digests[0][name] != digests[1][name]} == changed


def test_a_run_whose_sft_model_is_there_needs_no_traces(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, prepare=prepared, distill=nothing, sft=nothing)
    run_pipeline(run, tmp_path, NeverStop(), Events())
    RunLayout(tmp_path).stage("distill").completed.unlink()
    use(monkeypatch, prepare=prepared, distill=fail(AssertionError()), sft=fail(AssertionError()))
    events = Events()
    run_pipeline(run, tmp_path, NeverStop(), events)
    assert events.seen == [("already", "prepare"), ("already", "distill"), ("already", "sft")]


def test_traces_are_not_made_again_if_the_store_has_the_sft_model(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def restore(store: object, stage: str, folder: Path, on_restore: object = None) -> bool:
        asked.append(stage)
        return stage == "sft"

    content = run.model_dump(by_alias=True, mode="json")
    content["spec"]["storage"] = {"folder": str(tmp_path / "store")}
    stored = DeepICDRun.model_validate(content)
    monkeypatch.setattr(pipeline, "restore_stage", restore)
    use(monkeypatch, prepare=prepared, distill=fail(AssertionError()), sft=fail(AssertionError()))
    events = Events()
    assert list(run_pipeline(stored, tmp_path / "run", NeverStop(), events)) == ["prepare", "distill", "sft"]
    assert events.seen[-2:] == [("already", "distill"), ("already", "sft")]
    assert asked == ["sft"]


def test_a_term_that_is_edited_during_the_run_is_not_used(
    run: DeepICDRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "terms.py"
    file.write_text("def brevity(samples):\n    return [0.5 for _ in samples]\n")
    content = run.model_dump(by_alias=True, mode="json")
    content["spec"]["reward"] = {"terms": {"brevity": {"file": str(file), "function": "brevity"}}}
    own = parse(content, "run.yaml")
    *before, grpo, _ = plan(own)

    def edit(context: Context) -> None:
        file.write_text("def brevity(samples):\n    return [1.0 for _ in samples]\n")

    stages = [Stage(before[-1].name, before[-1].inputs, edit), Stage(grpo.name, grpo.inputs, nothing)]
    monkeypatch.setattr(pipeline, "plan", lambda run: stages)
    with pytest.raises(UserError, match=r"^reward\.terms: a file has changed since the run started: undo the change"):
        run_pipeline(own, tmp_path / "run", NeverStop(), Events())
