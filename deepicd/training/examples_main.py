"""SFT examples from the traces that `distill` wrote, within their token budget.

Run as a separate process (`python -m deepicd.training.examples_main SPEC COHORT RUN`), since it imports transformers; it exits
with 64 and one line on stderr if the user can fix the error.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from deepicd import atomic, prompt
from deepicd.data import sft
from deepicd.data.example_tokens import end_of_answer, stop_tokens
from deepicd.data.prompts import ChatTokens
from deepicd.run_layout import RunLayout, StageLayout
from deepicd.spec.load import load
from deepicd.spec.run import RunSpec
from deepicd.training.context_check import check_examples
from deepicd.training.launch import exit_code_of, run_apart


def build(spec_file: Path, cohort: Path, layout: RunLayout) -> None:
    """Run `make_examples` in a separate process, with its log in the stage's folder.

    Raises:
        UserError: see `make_examples`.
        CrashError: the process failed otherwise.
    """
    arguments, log = (spec_file, cohort, layout.folder), layout.stage("distill").model_log
    run_apart("deepicd.training.examples_main", arguments, log, "the SFT examples could not be made")


def are_made(place: StageLayout, max_tokens: int) -> bool:
    """Whether the examples of a stage's folder exist, within this budget of tokens."""
    counts = read_counts(place)
    return counts is not None and counts["max_example_tokens"] == max_tokens and place.traces.exists()


def read_counts(place: StageLayout) -> dict[str, Any] | None:
    """`max_example_tokens` and `examples`, as in prompts.json; None if there are no examples."""
    try:
        found: dict[str, Any] = json.loads(place.example_counts.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def make_examples(run: RunSpec, cohort: Path, layout: RunLayout) -> None:
    """Write `sft.parquet`, `traces.json` and `examples.json` of the stage `distill`.

    Raises:
        UserError: no trace is usable, or no example fits into `stages.sft.maxTokens`.
    """
    from transformers import AutoTokenizer

    assert run.stages.sft is not None, "called for SFT"  # noqa: S101
    prepared, place = layout.stage("prepare"), layout.stage("distill")
    examples = sft.write(cohort / "train.parquet", place.distilled, place.traces)
    examples.write(place.trace_counts)
    tokenizer = AutoTokenizer.from_pretrained(prepared.model)
    tokens = ChatTokens(tokenizer, end_of_answer(tokenizer, stop_tokens(prepared.model)))
    longest = run.stages.sft.max_tokens
    fitted = sft.fit(place.traces, prepared.prompts / "train.parquet", prompt.of(run.model.prompt), longest, tokens)
    check_examples(place.traces, tokenizer, prepared.model)
    atomic.write_json(place.example_counts, {"max_example_tokens": longest, "examples": asdict(fitted)})


def main(arguments: list[str]) -> int:
    """Command line: SPEC COHORT RUN."""
    spec_file, cohort, folder = map(Path, arguments)
    return exit_code_of(lambda: make_examples(load(spec_file).spec, cohort, RunLayout(folder)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
