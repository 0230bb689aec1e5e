"""What `prepare` makes of notes of one's own, and says about a reward that its notes cannot have."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from deepicd import prompt
from deepicd.run import prepare as stage
from deepicd.run.context import Context
from deepicd.run.prepare import prepare, say_whether_reasoning_is_scored
from deepicd.run_layout import RunLayout
from deepicd.spec.load import load
from deepicd.spec.reward import RewardSpec
from tests.unit.stops import NeverStop

ROOT = Path(__file__).parents[3]

ENGLISH = "Chief complaint: fever. He came with a cough and was treated for this at the clinic."
GERMAN = "Aufnahmegrund: Fieber. Er kam mit Husten und wurde deshalb in der Praxis behandelt."


def cohort(folder: Path, notes: list[str]) -> Path:
    path = folder / "train.parquet"
    pq.write_table(pa.table({"prompt": [prompt.messages(note) for note in notes]}), path)
    return path


def logged(reward: RewardSpec, path: Path) -> list[str]:
    with capture_logs() as logs:
        say_whether_reasoning_is_scored(reward, path)
    return [f"{log['event']} {log['english']} of {log['notes']}" for log in logs]


def test_notes_in_another_language_are_said_to_have_no_reasoning_term(tmp_path: Path) -> None:
    [message] = logged(RewardSpec(), cohort(tmp_path, [GERMAN, GERMAN, ENGLISH]))
    assert "set spec.reward.weights.reasoning to 0" in message
    assert message.endswith("1 of 3")
    assert "Husten" not in message


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
def test_where_the_term_is_scored_or_not_wanted_nothing_is_said(
    tmp_path: Path, fields: dict[str, object], notes: list[str]
) -> None:
    assert logged(RewardSpec.model_validate(fields), cohort(tmp_path, notes)) == []


def test_the_sample_of_notes_of_ones_own_becomes_a_cohort_and_sft_examples(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[Path] = []
    monkeypatch.setattr(stage, "build", lambda spec, corpus, model, log: built.append(corpus))
    monkeypatch.chdir(ROOT)
    run = load(ROOT / "manifests" / "samples" / "own-notes.yaml")
    context = Context(run, RunLayout(tmp_path), NeverStop(), lambda row, total: None)
    prepare(context)
    train = pq.read_table(context.cohort / "train.parquet").column("id").to_pylist()
    assert len(train) > 10
    traces = context.layout.stage("prepare").traces
    assert pq.read_table(traces).column("id").to_pylist() == train
    assert built == [traces]
