"""The base model with the prompts that fit it, on a small cohort and a real tokenizer."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from deepicd import prompt
from deepicd.data import mimic, sft, synthetic
from deepicd.data.shorten import split
from deepicd.errors import UserError
from deepicd.run_layout import StageLayout
from deepicd.spec.data import SplitSpec, SyntheticSource
from deepicd.spec.load import parse
from deepicd.spec.run import RunSpec
from deepicd.training.prepare_main import build, prepare_model
from deepicd.training.sft_examples import SftExamples

TINY = {"vocabulary": 600, "hiddenSize": 32, "intermediateSize": 32, "layers": 1, "heads": 1}
ASKS = {"system": "Use <think>.", "user": "Note {of a patient}:\n{note}\nNow name the code in <diagnosis>."}
MAX_PROMPT, MAX_EXAMPLE = 150, 170


def content(model: dict[str, Any], stages: dict[str, Any]) -> dict[str, Any]:
    spec = {"model": model, "data": {"prepared": "/cohort", "traces": "/traces"}, "stages": stages, "compute": {"gpus": 1}}
    return {"apiVersion": "deepicd.io/v1alpha1", "kind": "DeepICDRun", "metadata": {"name": "x"}, "spec": spec}


def run_spec(stages: dict[str, Any]) -> RunSpec:
    return parse(content({"tiny": TINY, "prompt": ASKS}, stages), "run.yaml").spec


@dataclass(frozen=True)
class Prepared:
    folder: Path
    cohort: Path
    whole_examples: dict[int, list[dict[str, str]]]

    def rows(self, name: str) -> list[dict[str, Any]]:
        return list(pq.read_table(self.folder / name).to_pylist())

    @property
    def tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(self.folder / "model")

    @property
    def counts(self) -> dict[str, Any]:
        return dict(json.loads((self.folder / "prompts" / "prompts.json").read_text()))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    home = tmp_path_factory.mktemp("prepared")
    synthetic.write_tables(SyntheticSource(admissions=120, codes=6, seed=3), home / "tables")
    mimic.extract(home / "tables" / "hosp", home / "tables" / "note", home / "cohort", SplitSpec())
    folder = home / "prepare"
    folder.mkdir()
    sft.write(home / "cohort" / "train.parquet", home / "tables" / "traces.jsonl", folder / "sft.parquet")
    whole = {row["id"]: row["messages"] for row in pq.read_table(folder / "sft.parquet").to_pylist()}
    stages = {
        "sft": {"maxTokens": MAX_EXAMPLE, "trainBatchSize": 8},
        "grpo": {"maxPromptTokens": MAX_PROMPT, "maxResponseTokens": 16},
    }
    prepare_model(run_spec(stages), home / "cohort", StageLayout(folder))
    return Prepared(folder, home / "cohort", whole)


def test_every_prompt_is_within_the_budget_as_the_training_stack_counts_it(prepared: Prepared) -> None:
    tokenizer = prepared.tokenizer
    lengths = [
        len(
            tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, tokenize=True, return_dict=True)[
                "input_ids"
            ]
        )
        for name in ("train", "validation", "test")
        for row in prepared.rows(f"prompts/{name}.parquet")
    ]
    assert len(lengths) > 100
    assert max(lengths) <= MAX_PROMPT
    assert min(lengths) > MAX_PROMPT // 2, "shortened by more than was needed"


def test_the_rows_are_those_of_the_cohort_but_for_the_prompt(prepared: Prepared) -> None:
    for name in ("train", "validation", "test"):
        whole, seen = (
            pq.read_table(prepared.cohort / f"{name}.parquet"),
            pq.read_table(prepared.folder / f"prompts/{name}.parquet"),
        )
        assert whole.drop_columns("prompt").equals(seen.drop_columns("prompt"))
        assert whole.schema.equals(seen.schema)


def test_every_prompt_is_the_runs_own_around_a_part_of_the_note(prepared: Prepared) -> None:
    asks = prompt.of(run_spec({"grpo": {}}).model.prompt)
    for whole, seen in zip(
        pq.read_table(prepared.cohort / "test.parquet").to_pylist(), prepared.rows("prompts/test.parquet"), strict=True
    ):
        note = asks.note(seen["prompt"])
        sections = {section.name: section.text for section in split(prompt.DEEPICD.note(whole["prompt"]))}
        assert all(sections[section.name].startswith(section.text.rstrip("\n")) for section in split(note) if note)


def test_every_example_is_within_its_length_and_keeps_its_whole_answer(prepared: Prepared) -> None:
    tokenizer, model = prepared.tokenizer, prepared.folder / "model"
    examples = prepared.rows("sft.parquet")
    assert len(examples) == prepared.counts["examples"]["written"] > 10
    for row in examples:
        assert row["messages"][-1] == prepared.whole_examples[row["id"]][-1]
    lengths = [len(example["input_ids"]) for example in SftExamples(prepared.folder / "sft.parquet", tokenizer, model)]
    assert len(lengths) == len(examples)
    assert max(lengths) <= MAX_EXAMPLE


def test_examples_are_those_of_the_chosen_patients(prepared: Prepared) -> None:
    file, tokenizer, model = prepared.folder / "sft.parquet", prepared.tokenizer, prepared.folder / "model"
    patients = [row["subject_id"] for row in prepared.rows("sft.parquet")]
    chosen = SftExamples(file, tokenizer, model, lambda patient: patient == patients[3])
    assert len(chosen) == patients.count(patients[3])
    assert chosen[0]["input_ids"].equal(SftExamples(file, tokenizer, model)[patients.index(patients[3])]["input_ids"])


def test_an_example_that_fits_has_the_note_that_grpo_sees(prepared: Prepared) -> None:
    seen = {row["id"]: row["prompt"] for row in prepared.rows("prompts/train.parquet")}
    same = [row["messages"][:-1] == seen[row["id"]] for row in prepared.rows("sft.parquet")]
    assert len(same) - sum(same) == prepared.counts["examples"]["shortened"]
    asks = prompt.of(run_spec({"grpo": {}}).model.prompt)
    for row in prepared.rows("sft.parquet"):
        assert len(asks.note(row["messages"][:-1])) <= len(asks.note(seen[row["id"]]))


def test_what_was_shortened_is_counted(prepared: Prepared) -> None:
    counts = prepared.counts
    train = counts["splits"]["train"]
    assert train["notes"] == len(prepared.rows("prompts/train.parquet"))
    assert 0 < train["shortened"] <= train["notes"]
    assert train["sections"]["Medications on Admission"]["notes"] > 0
    examples = counts["examples"]
    assert examples["written"] + examples["dropped"] == len(prepared.whole_examples)
    assert counts["counted_tokens"] > 10_000
    assert counts["counting_seconds"] > 0


def test_the_model_says_how_it_is_asked(prepared: Prepared) -> None:
    known = prompt.stored(prepared.folder / "model")
    assert known == prompt.Asked(prompt.Prompt(ASKS["user"], ASKS["system"]), MAX_PROMPT, 16)


def test_a_budget_below_the_prompts_own_length_is_refused(prepared: Prepared, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"spec\.stages\.grpo\.maxPromptTokens: 16 tokens are less than the prompt's own \d+"):
        prepare_model(run_spec({"grpo": {"maxPromptTokens": 16}}), prepared.cohort, StageLayout(tmp_path))


def test_examples_without_room_for_any_answer_are_refused(prepared: Prepared, tmp_path: Path) -> None:
    (tmp_path / "sft.parquet").write_bytes((prepared.folder / "sft.parquet").read_bytes())
    with pytest.raises(UserError, match=r"spec\.stages\.sft\.maxTokens: no example fits into 16 tokens"):
        prepare_model(run_spec({"sft": {"maxTokens": 16, "trainBatchSize": 8}}), prepared.cohort, StageLayout(tmp_path))


def test_a_refusal_reaches_the_caller_of_the_process(tmp_path: Path) -> None:
    run = tmp_path / "run.yaml"
    run.write_text(json.dumps(content({"path": str(tmp_path)}, {})))
    with pytest.raises(UserError, match=r"spec\.model\.path: .* is not a Hugging Face model"):
        build(run, tmp_path, StageLayout(tmp_path))
