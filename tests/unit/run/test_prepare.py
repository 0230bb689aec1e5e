"""What `prepare` makes of own notes, and logs: about the reward, shortened notes, another prompt."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from deepicd import prompt
from deepicd.data.prompts import ExampleCounts, NoteCounts, PromptCounts
from deepicd.data.splits import SPLITS
from deepicd.prompt import Asked, Prompt
from deepicd.rewards import Sample, cohort_words, make_scorer
from deepicd.run import prepare as stage
from deepicd.run.context import Context
from deepicd.run.prepare import count_words, log_shortened, prepare, warn_if_trained_otherwise
from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.load import load
from deepicd.spec.model import ModelSpec
from deepicd.spec.reward import RewardSpec
from tests.unit.stops import NeverStop

ROOT = Path(__file__).parents[3]

ENGLISH = "Chief complaint: fever. He came with a cough and was treated for this at the clinic."
GERMAN = "Aufnahmegrund: Fieber. Er kam mit Husten und wurde deshalb in der Praxis behandelt."


def cohort(folder: Path, notes: list[str]) -> Path:
    path = folder / "train.parquet"
    table = {"subject_id": list(range(len(notes))), "prompt": [prompt.messages(note) for note in notes]}
    pq.write_table(pa.table(table), path)
    return path


def logged(reward: RewardSpec, path: Path) -> list[str]:
    with capture_logs() as logs:
        count_words(reward, path, path.with_name("words.json"))
    return [f"{log['event']} {log['english']} of {log['patients']}" for log in logs]


def test_notes_in_another_language_turn_the_reasoning_term_off_for_the_run(tmp_path: Path) -> None:
    [message] = logged(RewardSpec(), cohort(tmp_path, [GERMAN, GERMAN, ENGLISH]))
    assert "the term reasoning is off for this run, with weight 0" in message
    assert message.endswith("1 of 3")
    assert "Husten" not in message
    counted = cohort_words.read(tmp_path / "words.json")
    assert (counted.patients, counted.english) == (3, 1)
    sample = Sample("x</think>\n<diagnosis>M5116</diagnosis>", "M5116", ENGLISH)
    score = make_scorer(RewardSpec(), opened_think=True, cohort=counted)([sample])[0]
    assert math.isnan(score.terms["reasoning"])
    assert score.value == pytest.approx(0.9)


@pytest.mark.parametrize(
    ("fields", "notes"),
    [
        ({}, [ENGLISH, ENGLISH, GERMAN]),
        ({}, []),
        ({"preset": "deepicd-r1"}, [GERMAN]),
        ({"weights": {"reasoning": 0}}, [GERMAN]),
    ],
    ids=["English notes", "no notes", "the released formula", "no weight"],
)
def test_nothing_is_logged_if_the_term_is_scored_or_off(tmp_path: Path, fields: dict[str, object], notes: list[str]) -> None:
    assert logged(RewardSpec.model_validate(fields), cohort(tmp_path, notes)) == []


OWN = Prompt("Think in <think>, answer in <diagnosis>: {note}")


@pytest.mark.parametrize(
    ("stored", "logged"),
    [(None, False), (Asked(), False), (Asked(max_prompt_tokens=5), False), (Asked(OWN), True)],
    ids=["no prompt", "the same", "another budget", "another prompt"],
)
def test_a_model_trained_with_another_prompt_is_logged(tmp_path: Path, stored: Asked | None, logged: bool) -> None:
    if stored is not None:
        stored.store(tmp_path)
    with capture_logs() as logs:
        warn_if_trained_otherwise(ModelSpec(path=str(tmp_path)))
    assert bool(logs) is logged


def counts(folder: Path, shortened: int, examples: ExampleCounts | None) -> list[dict[str, Any]]:
    splits = {name: NoteCounts(10, shortened if name == "train" else 0) for name in SPLITS}
    PromptCounts(OWN, 100, splits, 1000, 0.5, None if examples is None else 120, examples).write(folder)
    with capture_logs() as logs:
        log_shortened(folder)
    return [dict(log) for log in logs]


def test_shortened_notes_and_examples_are_logged(tmp_path: Path) -> None:
    notes, examples = counts(tmp_path, 3, ExampleCounts(written=8, shortened=1, dropped=2))
    assert (notes["train"], notes["max_prompt_tokens"], "test" in notes) == (3, 100, False)
    assert (examples["written"], examples["shortened"], examples["max_tokens"]) == (8, 1, 120)


@pytest.mark.parametrize("examples", [None, ExampleCounts(written=8)])
def test_nothing_is_logged_if_all_fits(tmp_path: Path, examples: ExampleCounts | None) -> None:
    assert counts(tmp_path, 0, examples) == []


def test_the_sample_of_own_notes_becomes_a_cohort_and_sft_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[Path] = []

    def build(spec: Path, cohort: Path, place: StageLayout) -> None:
        built.append(cohort)
        splits = {name: NoteCounts(10) for name in SPLITS}
        PromptCounts(OWN, 100, splits, 1000, 0.5, 120, ExampleCounts(written=5, dropped=3)).write(place.prompts)

    monkeypatch.setattr(stage, "build", build)
    monkeypatch.chdir(ROOT)
    run = load(ROOT / "manifests" / "samples" / "own-notes.yaml")
    phases: list[str] = []
    context = Context(run, RunLayout(tmp_path), NeverStop(), lambda row, total: None, lambda start: phases.append(str(start)))
    with capture_logs() as logs:
        prepare(context)
    assert phases == ["cohort", "SFT examples", "model and prompts"]
    left_out = {log["what"]: (log["count"], log["of"]) for log in logs if log["event"] == "left out"}
    assert left_out["SFT examples"] == (3, 8)
    train = pq.read_table(context.cohort / "train.parquet").column("id").to_pylist()
    assert len(train) > 10
    traces = context.layout.stage("prepare").traces
    assert pq.read_table(traces).column("id").to_pylist() == train
    assert built == [context.cohort]
    assert left_out["traces"] == (20 - len(train), 20)
