"""What `prepare` says about a reward that its notes cannot have."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from deepicd import prompt
from deepicd.run.prepare import say_whether_reasoning_is_scored
from deepicd.spec.reward import RewardSpec

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
