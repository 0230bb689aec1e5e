"""The prompts of a cohort within a budget, by a tokenizer whose tokens are words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.data.prompts import ChatTokens, NoteCounts, read_notes, shorten_notes, write_prompts
from deepicd.data.sft import fit
from deepicd.data.shorten import Shortened
from deepicd.data.splits import SPLITS
from deepicd.errors import UserError
from deepicd.prompt import Prompt

ASKS = Prompt("Name it: {note} .", "Think !")
ALONE = 2 + 3 + 1
"""Words of the prompt without a note, and one for the generation prompt."""


class Words:
    """A tokenizer of transformers, as far as counting goes."""

    def apply_chat_template(self, chat: Any, *, tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        return " ".join([*(message["content"] for message in chat), *(["assistant"] if add_generation_prompt else [])])

    def __call__(
        self, texts: list[str], *, add_special_tokens: bool, return_attention_mask: bool
    ) -> dict[str, list[list[int]]]:
        assert not add_special_tokens, "the template has them"
        return {"input_ids": [[1] * len(text.split()) for text in texts]}


NOTES = [f"Chief Complaint: cough for {days} days\nSocial History: {'smokes ' * days}".strip() for days in range(1, 40)]


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Folder of a cohort with NOTES in each split."""
    for name in SPLITS:
        rows = [{"id": str(place), "prompt": prompt.messages(note), "code": "R05"} for place, note in enumerate(NOTES)]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    return tmp_path


def written(cohort: Path, budget: int = ALONE + 20) -> tuple[Path, dict[str, NoteCounts], ChatTokens]:
    tokens = ChatTokens(Words())
    out = cohort / "prompts"
    out.mkdir()
    return out, write_prompts(cohort, out, ASKS, budget, tokens), tokens


def test_tokens_are_counted_with_the_turn_that_follows() -> None:
    tokens = ChatTokens(Words())
    assert tokens.count([ASKS.messages("a b"), ASKS.messages("")]) == [ALONE + 2, ALONE]
    assert tokens.count([[*ASKS.messages("a b"), {"role": "assistant", "content": "c d"}]], answered=True) == [ALONE + 4]
    assert tokens.count([]) == []
    assert tokens.tokens == 3 * ALONE + 6


def test_only_notes_over_the_budget_are_shortened(cohort: Path) -> None:
    out, counts, _ = written(cohort)
    seen = [note for _, note in read_notes(out / "train.parquet", ASKS)]
    assert [note == whole for note, whole in zip(seen, NOTES, strict=True)] == [len(note.split()) <= 20 for note in NOTES]
    assert all(len(note.split()) <= 20 for note in seen)
    long = sum(len(note.split()) > 20 for note in NOTES)
    assert counts["train"].shortened == counts["train"].sections["Social History"]["notes"] == long
    removed = sum(len(whole) - len(note) for note, whole in zip(seen, NOTES, strict=True))
    assert counts["train"].sections["Social History"]["characters"] == removed
    assert list(counts) == list(SPLITS)


def test_every_row_stays_with_its_admission(cohort: Path) -> None:
    out, _, _ = written(cohort)
    assert [admission for admission, _ in read_notes(out / "test.parquet", ASKS)] == [str(place) for place in range(len(NOTES))]


def test_predict_shortens_as_prepare_does(cohort: Path) -> None:
    out, _, tokens = written(cohort)
    alone = [shorten_notes([note], ASKS, ALONE + 20, tokens, "--max-prompt-tokens")[0].note for note in NOTES]
    assert alone == [note for _, note in read_notes(out / "validation.parquet", ASKS)]


def test_a_prompt_over_its_budget_names_the_setting() -> None:
    tokens = ChatTokens(Words())
    assert shorten_notes(["a b"], ASKS, ALONE, tokens, "x") == [Shortened("", {"note": 3})]
    with pytest.raises(
        UserError, match=rf"^here: {ALONE - 1} tokens are less than the prompt's own {ALONE}, without a note: raise"
    ):
        shorten_notes(["a b"], ASKS, ALONE - 1, tokens, "here")


def test_a_cohort_with_another_prompt_is_refused(cohort: Path) -> None:
    pq.write_table(pa.table({"prompt": [ASKS.messages("a")], "hadm_id": [1]}), cohort / "train.parquet")
    with pytest.raises(UserError, match=r"train\.parquet: prompts differ from those of this version"):
        written(cohort)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.write_bytes(b"no table"), "test.parquet"),
        (lambda path: pq.write_table(pa.table({"hadm_id": [1]}), path), "column prompt is missing"),
    ],
)
def test_a_damaged_cohort_is_named(cohort: Path, spoil: Any, message: str) -> None:
    spoil(cohort / "test.parquet")
    with pytest.raises(UserError, match=message):
        written(cohort)


def examples(folder: Path, answers: dict[int, str]) -> Path:
    turns = [{"role": "assistant", "content": answer} for answer in answers.values()]
    rows = [
        {"messages": [*prompt.messages(NOTES[place]), turn], "id": str(place)}
        for place, turn in zip(answers, turns, strict=True)
    ]
    pq.write_table(pa.Table.from_pylist(rows), folder / "sft.parquet")
    return folder / "sft.parquet"


def test_a_long_answer_shortens_the_note_and_one_over_the_budget_drops_the_example(cohort: Path) -> None:
    out, _, tokens = written(cohort)
    # Ids with gaps: the examples are some of the training split.
    answers = {0: "short answer", 30: "word " * 15 + "end", 31: "short answer", 38: "word " * 60 + "end"}
    path = examples(cohort, answers)
    counts = fit(path, out / "train.parquet", ASKS, ALONE + 30, tokens)
    rows = pq.read_table(path).to_pylist()
    assert (counts.written, counts.shortened, counts.dropped) == (3, 1, 1)
    assert [row["id"] for row in rows] == ["0", "30", "31"]
    assert [row["messages"][-1]["content"] for row in rows] == [answers[0], answers[30], answers[31]]
    assert all(tokens.count([row["messages"]], answered=True)[0] <= ALONE + 30 for row in rows)
    seen = dict(read_notes(out / "train.parquet", ASKS))
    notes = {row["id"]: ASKS.note(row["messages"][:-1]) for row in rows}
    assert (notes["0"], notes["31"]) == (seen["0"], seen["31"])
    assert len(notes["30"]) < len(seen["30"])
    assert seen["30"].startswith(notes["30"])


def test_if_no_example_fits_the_error_says_to_raise_the_length(cohort: Path) -> None:
    out, _, tokens = written(cohort)
    with pytest.raises(UserError, match=r"^spec\.stages\.sft\.maxTokens: no example fits into 5 tokens"):
        fit(examples(cohort, {0: "a long answer"}), out / "train.parquet", ASKS, 5, tokens)


def test_a_cohort_of_an_earlier_version_is_read_by_its_hadm_id(cohort: Path) -> None:
    for name in SPLITS:
        table = pq.read_table(cohort / f"{name}.parquet").to_pylist()
        rows = [{"hadm_id": int(row["id"]), "prompt": row["prompt"], "code": row["code"]} for row in table]
        pq.write_table(pa.Table.from_pylist(rows), cohort / f"{name}.parquet")
    out, _, _ = written(cohort)
    assert [admission for admission, _ in read_notes(out / "test.parquet", ASKS)] == [str(place) for place in range(len(NOTES))]
