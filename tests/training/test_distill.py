"""Distillation with a real vLLM server that the run starts and ends, SFT on its traces, and GRPO's choice by difficulty."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepicd.evaluation.difficulty import DifficultyPlan, read_solved
from deepicd.prompt import DEEPICD, Asked
from deepicd.run.context import Context
from deepicd.run.difficulty import training_prompts
from deepicd.run_layout import RunLayout
from deepicd.spec.load import parse
from deepicd.spec.training import GrpoSpec
from tests.training.answering_model import make_answering_model
from tests.training.deepicd_process import DeepicdProcess
from tests.training.runs import CANARY, GRPO, SFT, run_plan, write_run
from tests.unit.stops import NeverStop

pytestmark = [pytest.mark.training, pytest.mark.timeout(900)]
NOTES = 48
TRAINED = 32
"""Notes of the training split."""


@dataclass
class Distilled:
    """A run up to SFT on a teacher's traces."""

    folder: Path
    layout: RunLayout
    output: str
    exit_code: int
    left_behind: list[str]


def write_notes(path: Path) -> None:
    """Notes of one code, which the answering model names, and some of another, which it does not."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "patient_id", "note", "code", "split"))
        for number in range(NOTES):
            split = "train" if number < TRAINED else "validation" if number < TRAINED + 8 else "test"
            code = "J189" if number % 4 == 3 else "M5116"
            writer.writerow((number, number, f"{CANARY} pain for {number} days, shooting down the leg. No fever.", code, split))


@pytest.fixture(scope="module")
def distilled(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    home = tmp_path_factory.mktemp("distilled")
    write_notes(home / "notes.csv")
    (home / "model").mkdir()
    model = make_answering_model(cohort, home / "model")
    Asked(DEEPICD, 448, 32).store(model)
    run = write_run(
        home / "run.yaml", "distilled", {"notes": {"file": str(home / "notes.csv"), "sections": "none"}},
        {
            "distill": {
                "teacher": {"model": str(model)}, "oracle": False, "samples": 2, "maxResponseTokens": 32, "temperature": 0,
                "filters": {"minWords": 1, "similarity": None},
            },
            "sft": {**SFT, "maxSteps": 2, "learningRate": 1e-6}, "evaluate": None,
        },
        model={"path": str(model), "dtype": "float32"},
    )  # fmt: skip
    process = DeepicdProcess("sft", str(run), "--dir", str(home / "run"))
    process.wait_for_stage("distill")
    tree = process.tree()
    code = process.finish()
    return Distilled(home, RunLayout(home / "run"), process.text, code, process.left_behind(tree))


def test_the_run_starts_and_ends_its_teacher_and_sft_learns_from_its_traces(distilled: Distilled) -> None:
    assert distilled.exit_code == 0, distilled.output[-3000:]
    assert distilled.left_behind == []
    assert (distilled.layout.stage("sft").model / "config.json").exists()
    examples = pq.read_table(distilled.layout.stage("distill").traces).to_pylist()
    assert len(examples) == TRAINED * 3 // 4
    assert {row["messages"][-1]["content"] for row in examples} == {"<think>\npain.</think>\n<diagnosis>M5116</diagnosis>"}


def test_only_right_answers_of_a_teacher_without_the_answer_are_kept(distilled: Distilled) -> None:
    place = distilled.layout.stage("distill")
    counts = json.loads(place.distill_counts.read_text())
    traces = [json.loads(line) for line in place.distilled.read_text().splitlines()]
    assert {row["trace"] for row in traces} == {"pain."}
    assert {int(row["id"]) % 4 for row in traces} == {0, 1, 2}
    assert counts["rejected"] == {"code": TRAINED // 4}
    assert counts["answers"] == TRAINED
    assert counts["tokens"]["completion"] > 0


def test_note_text_is_only_in_the_files_of_traces_and_examples(distilled: Distilled) -> None:
    assert CANARY not in distilled.output
    place = distilled.layout.stage("distill")
    kept = [place.log, place.teacher_log, place.distill_counts, place.plan, *place.metrics.iterdir()]
    kept += [distilled.layout.stage("sft").log, *distilled.layout.stage("sft").metrics.iterdir()]
    for path in kept:
        assert CANARY.encode() not in path.read_bytes(), path


def context_of(distilled: Distilled, difficulty: dict[str, Any]) -> tuple[Context, GrpoSpec]:
    content = json.loads(json.dumps({
        "apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "distilled"},
        "spec": {
            "model": {"path": str(distilled.folder / "model"), "dtype": "float32"}, "data": {"prepared": "cohort"},
            "stages": {"grpo": {**GRPO, "temperature": 0.2, "difficulty": difficulty}}, "compute": {"gpus": 1},
        },
    }))  # fmt: skip
    run = parse(content, "run.yaml")
    assert run.spec.stages.grpo is not None
    return Context(run, distilled.layout, NeverStop(), lambda row, total: None), run.spec.stages.grpo


def test_prompts_are_left_out_by_difficulty_and_sampling_resumes(distilled: Distilled) -> None:
    context, grpo = context_of(distilled, {"samples": 4, "dropSolved": 1})
    result = distilled.layout.stage("grpo").difficulty
    model = distilled.folder / "model"
    left = pq.read_table(training_prompts(context, grpo, model))
    found = json.loads(result.read_text())
    assert found["prompts"] == sum(found["histogram"]) == TRAINED
    assert found["histogram"][0] >= TRAINED // 4, "those of the other code"
    assert found["kept"] == left.num_rows == TRAINED - found["histogram"][-1] < TRAINED
    assert "J189" in set(left["code"].to_pylist())
    solved = result.with_name("solved.jsonl")
    parts = sorted((result.parent / "answers").glob("*.json"))
    texts = [solved, result.with_name("training.log"), *parts]
    assert all(CANARY not in path.read_text() for path in texts)
    kept = [path.stat().st_mtime_ns for path in parts]
    result.unlink()
    assert pq.read_table(training_prompts(context, grpo, model)).num_rows == left.num_rows
    assert [path.stat().st_mtime_ns for path in parts] == kept, "what was sampled is kept"


@pytest.mark.long
def test_two_engines_count_as_one_does(distilled: Distilled) -> None:
    context, grpo = context_of(distilled, {"samples": 4, "dropSolved": 1})
    result = distilled.layout.stage("grpo").difficulty
    training_prompts(context, grpo, distilled.folder / "model")
    plan = DifficultyPlan(**json.loads((result.parent / "plan.json").read_text()))
    parts = result.parent / "several"
    several = replace(plan, batch=8, engines=[{}, {}], parts=str(parts), solved=str(result.parent / "again"))
    counts = []
    for _ in range(2):
        run_plan("difficulty", several, result.parent / "several.json")
        counts.append((read_solved(Path(several.solved)), (parts / "00000.json").stat().st_mtime_ns))
        (parts / "00001.json").unlink()
    assert counts[0] == counts[1], "what was sampled is kept"
    assert counts[0][0] == read_solved(result.with_name("solved.jsonl"))
