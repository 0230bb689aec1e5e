"""SFT's data set for verl's trainer, with each example as its rollout would see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch
from torch.utils.data import Dataset

from deepicd.data.example_tokens import end_of_answer, example_tokens, stop_tokens


class SftExamples(Dataset[dict[str, torch.Tensor]]):  # type: ignore[misc]
    """The examples of a file that `deepicd.data.sft` wrote, tokenized when they are read.

    verl's own data set tokenizes turn by turn with the chat template. Templates of reasoning models drop the reasons of an
    answer then, and the first token of an answer may begin in the prompt.
    """

    def __init__(self, examples: Path, tokenizer: Any, model: Path, patients: Callable[[str], bool] | None = None) -> None:
        """`model`: folder of the model, for the tokens that end an answer; `patients`: whose examples to have."""
        columns = ["messages"] if patients is None else ["messages", "subject_id"]
        rows = pq.read_table(examples, columns=columns).to_pylist()
        self._messages: list[list[dict[str, str]]] = [
            row["messages"] for row in rows if patients is None or patients(row["subject_id"])
        ]
        self._tokenizer = tokenizer
        self._end = end_of_answer(tokenizer, stop_tokens(model))

    def __len__(self) -> int:
        return len(self._messages)

    def __getitem__(self, place: int) -> dict[str, torch.Tensor]:
        """`input_ids`, `position_ids` and `loss_mask`, each of shape (tokens,); the mask is 1 for the tokens to learn."""
        [example] = example_tokens(self._tokenizer, [self._messages[place]], self._end)
        ids = torch.tensor(example.prompt + example.completion)
        mask = torch.zeros_like(ids)
        mask[len(example.prompt) :] = 1
        return {"input_ids": ids, "position_ids": torch.arange(len(ids)), "loss_mask": mask}
