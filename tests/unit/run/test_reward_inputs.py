"""What is recorded of the files that decide a run's rewards."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.rewards import cohort_words
from deepicd.run.context import Context
from deepicd.run.reward_inputs import reward_inputs
from deepicd.run_layout import RunLayout
from deepicd.spec.load import parse
from tests.unit.spec.test_load import quickstart
from tests.unit.stops import NeverStop

NOTES = {"1": "CANARY cough", "2": "CANARY fever"}


def recorded(folder: Path, notes: dict[str, str], *, words: str = "{}", reward: object = None) -> dict[str, str]:
    layout = RunLayout(folder)
    place = layout.stage("prepare")
    place.prompts.mkdir(parents=True, exist_ok=True)
    content = quickstart()
    content["spec"]["reward"] = reward or {}
    run = parse(content, "run.yaml")
    asks = prompt.of(run.spec.model.prompt)
    rows = {"id": list(notes), "prompt": [asks.messages(note) for note in notes.values()]}
    pq.write_table(pa.table(rows), place.prompts / "test.parquet")
    (place.folder / cohort_words.FILE).write_text(words)
    return reward_inputs(Context(run, layout, NeverStop(), lambda *_: None))


def test_only_digests_of_the_notes_and_words_are_recorded(tmp_path: Path) -> None:
    found = recorded(tmp_path, NOTES)
    assert set(found) == {"notes", "words"}
    assert all(len(value) == 64 and "CANARY" not in value for value in found.values())


def test_the_digest_is_of_each_note_and_not_of_their_order(tmp_path: Path) -> None:
    before = recorded(tmp_path, NOTES)
    assert recorded(tmp_path, dict(reversed(NOTES.items()))) == before
    assert recorded(tmp_path, NOTES | {"2": "CANARY fever."})["notes"] != before["notes"]
    assert recorded(tmp_path, {"1": NOTES["2"], "2": NOTES["1"]})["notes"] != before["notes"]


@pytest.mark.parametrize(
    ("reward", "names"),
    [
        ({"preset": "strict"}, {"notes"}),
        ({"terms": {"own": {"file": "FILE", "function": "score"}}}, {"notes", "words", "spec.reward.terms.own.file"}),
        (
            {"judge": {"endpoint": "http://127.0.0.1:1/v1", "name": "judge"}, "weights": {"judge": 0.1}},
            {"notes", "words", "spec.reward.judge.rubric"},
        ),
    ],
)
def test_files_are_recorded_where_the_reward_reads_them(
    reward: dict[str, dict[str, dict[str, str]]], names: set[str], tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text("def score(samples): return [0.0] * len(samples)")
    if "terms" in reward:
        reward = {"terms": {"own": {"file": str(own), "function": "score"}}}
    assert set(recorded(tmp_path, NOTES, reward=reward)) == names
