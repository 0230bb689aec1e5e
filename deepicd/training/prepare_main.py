"""The part of `prepare` that needs the model: its folder, and the prompts within its budget.

Run as a separate process (`python -m deepicd.training.prepare_main SPEC COHORT FOLDER`), since it imports transformers; it
exits with 64 and one line on stderr if the user can fix the error.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepicd import prompt
from deepicd.data import sft
from deepicd.data.example_tokens import end_of_answer, stop_tokens
from deepicd.data.prompts import ChatTokens, PromptCounts, write_prompts
from deepicd.run_layout import StageLayout
from deepicd.spec.load import load
from deepicd.spec.run import RunSpec
from deepicd.training.base_model import make
from deepicd.training.context_check import check_examples, check_prompts
from deepicd.training.launch import exit_code_of, run_apart
from deepicd.training.model_limits import check_limits


def build(spec_file: Path, cohort: Path, place: StageLayout) -> None:
    """Run `prepare_model` in a separate process, with its log beside its results.

    Raises:
        UserError: see `prepare_model`.
        CrashError: the process failed otherwise.
    """
    arguments = (spec_file, cohort, place.folder)
    run_apart("deepicd.training.prepare_main", arguments, place.model_log, "the base model could not be made")


def prepare_model(run: RunSpec, cohort: Path, place: StageLayout) -> None:
    """Create the base model and the prompts that every stage reads, and fit SFT's examples to them.

    Args:
        run: the prompt, and its budgets.
        cohort: folder written by `deepicd.data.mimic.extract` or `deepicd.data.notes.extract`.
        place: the stage's folder. It holds SFT's examples if `prepare` makes them; the model and the prompts are written to it.

    Raises:
        UserError: the model, its tokenizer, the prompt or a budget is unsuitable.
    """
    from transformers import AutoTokenizer

    for made in (place.model, place.prompts):
        made.mkdir()
    corpus = place.traces if run.prepared_sft else cohort / "train.parquet"
    make(run.model, corpus, place.model)
    check_limits(run, place.model)
    asked = prompt.asked(run)
    asked.store(place.model)
    tokenizer = AutoTokenizer.from_pretrained(place.model)
    tokens = ChatTokens(tokenizer, end_of_answer(tokenizer, stop_tokens(place.model)) if run.prepared_sft else ())
    splits = write_prompts(cohort, place.prompts, asked.prompt, asked.max_prompt_tokens, tokens)
    check_prompts(place.prompts / "train.parquet", tokenizer, asked.prompt, place.model)
    longest = fitted = None
    if run.prepared_sft is not None:
        longest = run.prepared_sft.max_tokens
        fitted = sft.fit(place.traces, place.prompts / "train.parquet", asked.prompt, longest, tokens)
        check_examples(place.traces, tokenizer, place.model)
    PromptCounts(
        asked.prompt, asked.max_prompt_tokens, splits, tokens.tokens, round(tokens.seconds, 2), longest, fitted
    ).write(place.prompts)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Command line: SPEC COHORT FOLDER."""
    spec_file, cohort, folder = map(Path, arguments)
    return exit_code_of(lambda: prepare_model(load(spec_file).spec, cohort, StageLayout(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
