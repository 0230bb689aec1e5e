"""One run, interrupted in every way that a machine can, until it is finished. Each test states one fact of that story."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepicd.prompt import Asked, Prompt, stored
from deepicd.run.stored import store_of
from deepicd.spec.load import load
from deepicd.training.stage_files import StageFiles
from deepicd.training.step_metrics import all_steps
from tests.storage.seaweed import BUCKET, Seaweed, secret_folder
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import CANARY, GRPO, SFT, TINY, write_run, write_tables_with_canary

pytestmark = [pytest.mark.training, pytest.mark.timeout(2700)]

# An SFT step takes a few hundredths of a second: enough of them for a signal to arrive between them. They teach the
# model to answer, so that rewards differ; two updates a GRPO step let the order of its completions matter.
LONG_SFT = {**SFT, "maxSteps": 150, "learningRate": 5e-3, "saveEverySteps": 40}
LONG_GRPO = {**GRPO, "maxSteps": 8, "ppoMiniBatchSize": 2, "maxPromptTokens": 150, "maxResponseTokens": 64}
# Every stage, the lost machine and the next one read it from what `prepare` and the bucket keep.
PROMPT = Prompt("Note {of a patient}:\n{note}\nName its code in <diagnosis>.", "Reason in <think>.")
MODEL = {"tiny": TINY, "dtype": "float32", "prompt": {"system": PROMPT.system, "user": PROMPT.user}}

MEASURED = ("reward", "loss", "kl", "responseTokens")
"""What each step measures, but for the time it takes."""
Curve = dict[int, dict[str, Any]]
"""Rows of `curves.jsonl` by step, from step 1."""


@dataclass
class Story:
    """What happened."""

    run: Path
    """Its run.yaml."""
    folder: Path
    curves: dict[str, tuple[Curve, Curve]]
    """By training stage: of the interrupted run, and of an undisturbed one."""
    lost: list[dict[str, str]]
    """Digests of the files of SFT's model and GRPO's checkpoint on the lost machine."""
    restored: list[dict[str, str]]
    """The same on the machine that resumed from the bucket."""
    output: str
    """Everything that the commands printed."""
    sft_stopped: tuple[int, int]
    """Exit code after SIGTERM during SFT, and the step of the newest checkpoint."""
    sft_resumed_at: int
    stopped: list[dict[str, Any]]
    """Log lines of the launch that was stopped during GRPO."""
    trained: list[dict[str, Any]]
    """Log lines of the launch that trained to the end."""
    grpo_stopped: tuple[int, int]
    grpo_resumed_at: int
    left_after_sigterm: list[str]
    finished: int
    """Exit code of the last launch that had work to do."""
    left_after_end: list[str]
    again: DeepicdProcess
    """A launch after everything was finished."""


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of each file below a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): sha256(path.read_bytes()).hexdigest() for path in files}


def curve(folder: Path, stage: str) -> Curve:
    return {row.step: row.to_json() for row in all_steps(folder / "stages" / stage / "metrics") if row.step > 0}


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, seaweed: Seaweed) -> Story:
    home = tmp_path_factory.mktemp("story")
    write_tables_with_canary(home / "tables")
    data = {
        "mimic": {"hosp": str(home / "tables" / "hosp"), "note": str(home / "tables" / "note")},
        "traces": str(home / "tables" / "traces.jsonl"),
    }
    storage = {"s3": {
        "endpoint": seaweed.endpoint, "bucket": BUCKET, "prefix": "story",
        "credentials": {"secretFolder": secret_folder(home / "secret")},
    }}  # fmt: skip
    evaluate = {"maxAdmissions": 20, "samples": 2, "bootstrapSamples": 50}
    stages = {"sft": LONG_SFT, "grpo": LONG_GRPO, "evaluate": evaluate}
    run = write_run(home / "run.yaml", "story", data, stages, storage=storage, model=MODEL)
    command = ("run", str(run), "--dir", str(home / "first-machine"))
    folder = home / "second-machine"

    # It continues during what follows: the start of training keeps one core busy.
    same = write_run(home / "same.yaml", "undisturbed", data, stages, model=MODEL)
    undisturbed = DeepicdProcess("grpo", str(same), "--dir", str(home / "undisturbed"))
    undisturbed_end = ThreadPoolExecutor(1).submit(undisturbed.finish)

    # As in a command that was submitted to a Ray cluster: torchrun's processes must not take themselves for Ray's.
    first = DeepicdProcess(*command, variables={"RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES": "1"})
    first.wait_for_step("sft", 1)
    first.process.send_signal(signal.SIGTERM)
    sft_stopped = (first.finish(), StageFiles(home / "first-machine" / "stages" / "sft").checkpoints.last_step)

    second = DeepicdProcess(*command)
    second.wait_for_step("grpo", 1)
    tree = second.tree()
    second.process.send_signal(signal.SIGTERM)
    grpo_stopped = (second.finish(), StageFiles(home / "first-machine" / "stages" / "grpo").checkpoints.last_step)
    left_after_sigterm = second.left_behind(tree)

    # The machine is lost: another one has only the tables, run.yaml and the bucket.
    shutil.move(home / "first-machine", home / "lost")
    command = ("run", str(run), "--dir", str(folder))
    third = DeepicdProcess(*command)
    third.wait_for_step("grpo", grpo_stopped[1] + 1)
    brought = ("sft/model", f"grpo/checkpoints/global_step_{grpo_stopped[1]}")
    lost, restored = ([digests(machine / "stages" / part) for part in brought] for machine in (home / "lost", folder))
    tree = third.tree()
    finished = third.finish()
    left_after_end = third.left_behind(tree)

    again = DeepicdProcess(*command)
    again.finish()
    assert undisturbed_end.result() == 0, undisturbed.text[-3000:]
    return Story(
        run=run,
        folder=folder,
        curves={
            "sft": (curve(home / "lost", "sft"), curve(home / "undisturbed", "sft")),
            "grpo": (curve(folder, "grpo"), curve(home / "undisturbed", "grpo")),
        },
        lost=lost,
        restored=restored,
        output="".join(process.text for process in (first, second, third, again)),
        sft_stopped=sft_stopped,
        sft_resumed_at=second.steps("sft")[0],
        stopped=second.lines,
        trained=third.lines,
        grpo_stopped=grpo_stopped,
        grpo_resumed_at=third.steps("grpo")[0],
        left_after_sigterm=left_after_sigterm,
        finished=finished,
        left_after_end=left_after_end,
        again=again,
    )


def test_sigterm_during_sft_saves_a_checkpoint_and_exits_143(story: Story) -> None:
    code, step = story.sft_stopped
    assert code == 143
    assert step >= 1
    assert step < LONG_SFT["maxSteps"]


def test_a_signal_amid_steps_is_acknowledged_with_what_follows(story: Story) -> None:
    [said] = [line["event"] for line in story.stopped if "signals" in line]
    assert re.fullmatch(r"Saving at the end of this step, about \d+ s; press Ctrl-C again to exit immediately", said)


def test_every_phase_of_a_stage_is_reported_in_its_order_with_its_log(story: Story) -> None:
    said = [line for line in story.trained if line.get("event") == "phase" and line["phase"] != "download"]
    phases = {stage: [line for line in said if line["stage"] == stage] for stage in ("grpo", "evaluate")}
    names = {stage: [line["phase"] for line in lines] for stage, lines in phases.items()}
    assert names["grpo"][:5] == ["imports", "Ray", "model", "vLLM", "first rollouts"]
    assert names["grpo"][-3:] == ["saving", "validation", "ending processes"]
    assert {line["log"] for line in phases["grpo"]} == {str(story.folder / "stages" / "grpo" / "training.log")}
    assert names["evaluate"] == ["imports", "vLLM", *["answers"] * 3, "ending processes", "metrics", "report"]
    assert [line["of"] for line in phases["evaluate"] if line["phase"] == "answers"] == ["base", "sft", "grpo"]


def test_every_step_of_grpo_has_its_shares_of_well_formed_and_truncated_completions(story: Story) -> None:
    steps = [line for line in story.trained if line.get("event") == "step" and line["stage"] == "grpo"]
    shares = [line[name] for line in steps for name in ("format_rate", "truncated")]
    assert shares
    assert all(0 <= share <= 1 for share in shares)
    assert any(share > 0 for share in shares)


def test_sft_resumes_after_its_last_step(story: Story) -> None:
    assert story.sft_resumed_at == story.sft_stopped[1] + 1


def test_sigterm_during_grpo_saves_a_checkpoint_and_exits_143(story: Story) -> None:
    code, step = story.grpo_stopped
    assert code == 143
    assert 1 <= step < LONG_GRPO["maxSteps"]


def test_grpo_resumes_after_its_last_step(story: Story) -> None:
    assert story.grpo_resumed_at == story.grpo_stopped[1] + 1


@pytest.mark.parametrize(("stage", "last"), [("sft", LONG_SFT["maxSteps"]), ("grpo", LONG_GRPO["maxSteps"])])
def test_an_interrupted_stage_has_exactly_the_curves_of_an_undisturbed_one(story: Story, stage: str, last: int) -> None:
    interrupted, undisturbed = (
        {step: [row[name] for name in MEASURED] for step, row in curve.items()} for curve in story.curves[stage]
    )
    assert list(interrupted) == list(range(1, last + 1))
    assert interrupted == undisturbed


def test_an_interrupted_grpo_has_the_validation_of_an_undisturbed_one(story: Story) -> None:
    interrupted, undisturbed = (curve[max(curve)] for curve in story.curves["grpo"])
    # verl adds a validation up in the order in which its completions ended.
    assert interrupted["validationReward"] == pytest.approx(undisturbed["validationReward"], rel=1e-12)
    assert interrupted["terms"] == pytest.approx(undisturbed["terms"], rel=1e-12)


def test_grpo_has_something_to_reproduce(story: Story) -> None:
    for name in MEASURED:
        assert len({row[name] for row in story.curves["grpo"][1].values()}) > 3, name


def test_another_machine_resumes_with_exactly_what_was_lost(story: Story) -> None:
    assert all(len(files) > 2 for files in story.lost)
    assert story.restored == story.lost


def test_everything_in_the_bucket_verifies(story: Story) -> None:
    command = [str(Path(sys.executable).with_name("deepicd")), "artifacts", "verify", "--spec", str(story.run)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_bucket_holds_models_checkpoints_results_and_logs(story: Story) -> None:
    store = store_of(load(story.run))
    assert store is not None
    keys = [item.key for item in store.list()]
    for part in ("/models/base/manifest.json", "/models/sft/manifest.json", "/models/grpo/manifest.json",
                 f"/checkpoints/step-{LONG_GRPO['maxSteps']:06}/manifest.json", "/evaluation/report.html",
                 "/evaluation/metrics.json", "/evaluation/cards/grpo/README.md", "/logs/grpo/training.log"):  # fmt: skip
        assert [key for key in keys if key.endswith(part)], part


def test_nothing_stays_behind_after_sigterm(story: Story) -> None:
    assert story.left_after_sigterm == []


def test_nothing_stays_behind_after_the_end(story: Story) -> None:
    assert story.left_after_end == []


def test_the_run_finishes_in_spite_of_it_all(story: Story) -> None:
    assert story.finished == 0, story.output[-3000:]
    metrics = json.loads((story.folder / "evaluate" / "metrics.json").read_text())
    assert list(metrics) == ["base", "sft", "grpo"]
    assert (story.folder / "evaluate" / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize(("stage", "last"), [("sft", LONG_SFT["maxSteps"]), ("grpo", LONG_GRPO["maxSteps"])])
def test_every_step_is_in_the_curves_once(story: Story, stage: str, last: int) -> None:
    steps = [row.step for row in all_steps(story.folder / "stages" / stage / "metrics") if row.step > 0]
    assert steps == list(range(1, last + 1))


def test_a_finished_run_has_nothing_left_to_do(story: Story) -> None:
    assert story.again.process.returncode == 0
    assert [line["already"] for line in story.again.lines if line.get("event") == "stage finished"] == [True] * 4


def test_no_note_text_is_in_anything_written_but_the_cohort(story: Story) -> None:
    allowed = {"train.parquet", "validation.parquet", "test.parquet", "sft.parquet"}
    # The model's own files: its tokenizer learned the words of the notes, its checkpoints hold weights.
    written = [
        path
        for path in story.folder.rglob("*")
        if path.is_file() and path.name not in allowed and "model" not in path.parts and "checkpoints" not in path.parts
    ]
    assert len(written) > 10
    assert [path for path in written if CANARY.encode() in path.read_bytes()] == []
    # Compressed: its bytes would not show it.
    assert CANARY not in str(pq.read_table(story.folder / "evaluate" / "predictions.parquet").to_pylist())
    assert CANARY not in story.output


def test_every_note_of_the_cohort_holds_the_canary(story: Story) -> None:
    for name in ("train", "validation", "test"):
        path = story.folder / "stages" / "prepare" / "cohort" / f"{name}.parquet"
        notes = [prompt[-1]["content"] for prompt in pq.read_table(path).column("prompt").to_pylist()]
        assert all(CANARY in note for note in notes)


@pytest.mark.parametrize("stage", ["prepare", "sft", "grpo"])
def test_every_model_keeps_how_it_is_asked_from_one_machine_to_the_next(story: Story, stage: str) -> None:
    assert stored(story.folder / "stages" / stage / "model") == Asked(PROMPT, 150, 64)


def test_every_stage_reads_the_runs_own_prompt_with_its_notes_shortened(story: Story) -> None:
    prepared = story.folder / "stages" / "prepare"
    for name, column, messages in (("prompts/train", "prompt", 2), ("prompts/test", "prompt", 2), ("sft", "messages", 3)):
        rows = pq.read_table(prepared / f"{name}.parquet").column(column).to_pylist()
        assert all(len(row) == messages and PROMPT.note(row[:2]) for row in rows), name
    counts = json.loads((story.folder / "evaluate" / "about.json").read_text())["prompts"]
    assert 0 < counts["splits"]["train"]["shortened"] < counts["splits"]["train"]["notes"]


def test_the_trained_model_predicts_a_code_or_says_what_was_wrong(story: Story) -> None:
    social = "\nSocial History: " + "smokes ten a day " * 60
    notes = [{"id": number, "note": f"Chief Complaint: cough for {number} days" + social * (number - 1)} for number in (1, 2)]
    result = subprocess.run(
        [str(Path(sys.executable).with_name("deepicd")), "predict", "--model", str(story.folder / "stages" / "grpo" / "model"),
         "--max-response-tokens", "24"],
        input="".join(json.dumps(note) + "\n" for note in notes), capture_output=True, text=True, check=True,
    )  # fmt: skip
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == [1, 2]
    assert all(answer["code"] or answer["faults"] for answer in answers)
    assert [list(answer["shortened"]) for answer in answers] == [[], ["Social History"]]
    assert "1 of 2 notes were shortened to 150 tokens" in result.stderr
    assert "deepicd.json" not in result.stderr, "asked with the prompt that the model keeps"
