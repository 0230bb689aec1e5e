"""What `prepare` says about a reward that its notes cannot have."""

import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from structlog.testing import capture_logs

from deepicd import prompt
from deepicd.rewards import Sample, cohort_words, make_scorer
from deepicd.run.prepare import count_words
from deepicd.spec.reward import RewardSpec

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
def test_where_the_term_is_scored_or_not_wanted_nothing_is_said(
    tmp_path: Path, fields: dict[str, object], notes: list[str]
) -> None:
    assert logged(RewardSpec.model_validate(fields), cohort(tmp_path, notes)) == []
