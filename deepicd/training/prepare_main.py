"""The part of `prepare` that needs the model: its folder, and the prompts within its budget.

Run as a process of its own (`python -m deepicd.training.prepare_main SPEC COHORT FOLDER`), since it imports transformers; it
exits with 64 and one line on stderr where the user can fix what is wrong.
"""

from __future__ import annotations

import sys
from pathlib import Path

from deepicd import prompt
from deepicd.data import sft
from deepicd.data.prompts import ChatTokens, PromptCounts, write_prompts
from deepicd.errors import CrashError, UserError
from deepicd.spec.load import load
from deepicd.spec.run import RunSpec
from deepicd.training.base_model import make
from deepicd.training.launch import GuardedProcess, exit_code_of, last_line, offline_environment

MODEL, PROMPTS, EXAMPLES = "model", "prompts", "sft.parquet"
"""In the stage's folder: the base model, the prompts of each split, and SFT's examples where there is SFT."""


def build(spec_file: Path, cohort: Path, folder: Path) -> None:
    """Run `prepare_model` in a process of its own, with its log beside what it makes.

    Raises:
        UserError: see `prepare_model`.
        CrashError: the process failed otherwise.
    """
    log = folder / "model.log"
    command = [sys.executable, "-m", "deepicd.training.prepare_main", str(spec_file), str(cohort), str(folder)]
    code = GuardedProcess(command, offline_environment(), log).wait()
    if code == UserError.exit_code:
        raise UserError(last_line(log))
    if code:
        raise CrashError(f"the base model could not be made: see {log}")


def prepare_model(run: RunSpec, cohort: Path, folder: Path) -> None:
    """Make the base model and the prompts that every stage reads, and fit SFT's examples to them.

    Args:
        run: what is asked, and within which budgets.
        cohort: folder written by `deepicd.data.mimic.extract`.
        folder: holds SFT's examples where the run has SFT; gets the model and the prompts.

    Raises:
        UserError: the model, the prompt or a budget does not do.
    """
    from transformers import AutoTokenizer

    model, prompts, examples = folder / MODEL, folder / PROMPTS, folder / EXAMPLES
    for made in (model, prompts):
        made.mkdir()
    make(run.model, examples if run.stages.sft else cohort / "train.parquet", model, for_grpo=run.stages.grpo is not None)
    asked = prompt.asked(run)
    asked.store(model)
    tokens = ChatTokens(AutoTokenizer.from_pretrained(model))
    splits = write_prompts(cohort, prompts, asked.prompt, asked.max_prompt_tokens, tokens)
    longest = fitted = None
    if run.stages.sft is not None:
        longest = run.stages.sft.max_tokens
        fitted = sft.fit(examples, prompts / "train.parquet", asked.prompt, longest, tokens)
    PromptCounts(
        asked.prompt, asked.max_prompt_tokens, splits, tokens.tokens, round(tokens.seconds, 2), longest, fitted
    ).write(prompts)  # fmt: skip


def main(arguments: list[str]) -> int:
    """Command line: SPEC COHORT FOLDER."""
    spec_file, cohort, folder = map(Path, arguments)
    return exit_code_of(lambda: prepare_model(load(spec_file).spec, cohort, folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
