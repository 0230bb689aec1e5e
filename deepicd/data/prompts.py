"""Writes the prompts of a cohort, each within the model's budget, to the files that SFT, GRPO and evaluation read."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd import atomic, prompt
from deepicd.data.atomic_output import disk_errors
from deepicd.data.cohort import WRITERS
from deepicd.data.example_tokens import Chat, example_tokens, generation_prompt, token_ids
from deepicd.data.rows import key
from deepicd.data.shorten import Shortened, shorten_all
from deepicd.data.splits import SPLITS
from deepicd.data.tables import reading
from deepicd.errors import UserError
from deepicd.prompt import Asked, Prompt

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

FILE = "prompts.json"
SETTING = "spec.stages.grpo.maxPromptTokens"
_BATCH = 1024


class ChatTokens:
    """Counts the tokens of chats in batches, tokenized as in the training stack and vLLM, and measures the time."""

    def __init__(self, tokenizer: Any, end: Sequence[int] = ()) -> None:
        """`tokenizer`: a transformers tokenizer with a chat template; `end`: tokens that end an answer."""
        self._tokenizer = tokenizer
        self._end = end
        self.tokens = 0
        """Tokens counted so far."""
        self.seconds = 0.0
        """Time spent on counting."""

    def count(self, chats: Sequence[Chat], *, answered: bool = False) -> list[int]:
        """Tokens of each chat: a prompt with its generation prompt; if `answered`, with the completion that SFT teaches."""
        began = time.perf_counter()
        if answered:
            examples = example_tokens(self._tokenizer, chats, self._end)
            counted = [len(one.prompt) + len(one.completion) for one in examples]
        else:
            texts = [generation_prompt(self._tokenizer, chat) for chat in chats]
            counted = [len(tokens) for tokens in token_ids(self._tokenizer, texts)]
        self.tokens += sum(counted)
        self.seconds += time.perf_counter() - began
        return counted


@dataclass(slots=True)
class NoteCounts:
    """Notes of one file, and how many were shortened. `sections`: shortened notes and removed characters by section."""

    notes: int = 0
    shortened: int = 0
    sections: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, one: Shortened) -> None:
        """Count a note."""
        self.notes += 1
        self.shortened += bool(one.removed)
        for name, characters in one.removed.items():
            section = self.sections.setdefault(name, {"notes": 0, "characters": 0})
            section["notes"] += 1
            section["characters"] += characters


@dataclass(slots=True)
class ExampleCounts:
    """SFT's examples: written, shortened further than for GRPO, and dropped since their answer alone is too long."""

    written: int = 0
    shortened: int = 0
    dropped: int = 0


@dataclass(slots=True)
class PromptCounts:
    """The content of `prompts.json`: the prompt, the budgets in tokens, and counts. `splits`: counts by name of the split."""

    prompt: Prompt
    max_prompt_tokens: int
    splits: dict[str, NoteCounts]
    counted_tokens: int
    counting_seconds: float
    max_example_tokens: int | None = None
    examples: ExampleCounts | None = None

    def write(self, folder: Path) -> None:
        """Write `prompts.json` into a folder."""
        atomic.write(folder / FILE, json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n")


def are_for(folder: Path, asked: Asked, max_example_tokens: int | None) -> bool:
    """Whether the prompts in a folder have this prompt and these budgets, and can be read. `max_example_tokens`: None without
    SFT.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        for path in folder.glob("*.parquet"):
            pq.read_metadata(path)
    except (FileNotFoundError, ValueError, pa.ArrowException):  # written by an earlier version, or damaged
        return False
    wanted = (asdict(asked.prompt), asked.max_prompt_tokens, max_example_tokens)
    return (found["prompt"], found["max_prompt_tokens"], found["max_example_tokens"]) == wanted


def shorten_notes(notes: Sequence[str], asks: Prompt, budget: int, tokens: ChatTokens, setting: str) -> list[Shortened]:
    """The notes, shortened so that each fits into the budget with the prompt around it.

    Args:
        notes: admission notes.
        asks: the prompt.
        budget: tokens of the prompt with its note.
        tokens: counts the model's tokens.
        setting: where the budget is set, for the message.

    Raises:
        UserError: the prompt alone exceeds the budget.
    """
    [alone] = tokens.count([asks.messages("")])
    if alone > budget:
        raise UserError(f"{setting}: {budget} tokens are less than the prompt's own {alone}, without a note: raise it")
    return shorten_all(notes, budget, lambda some: tokens.count([asks.messages(note) for note in some]))


def write_prompts(cohort: Path, out: Path, asks: Prompt, budget: int, tokens: ChatTokens) -> dict[str, NoteCounts]:
    """Write each split of a cohort as the models see it: the same rows and columns, with this prompt's messages.

    Args:
        cohort: folder written by `deepicd.data.mimic.extract` or `deepicd.data.notes.extract`.
        out: existing folder to write to.
        asks: the prompt.
        budget: tokens of the prompt with its note.
        tokens: counts the model's tokens.

    Raises:
        UserError: the prompt alone exceeds the budget; a file is missing, damaged or has another prompt; the disk is full.
    """
    return {name: _write(cohort / f"{name}.parquet", out / f"{name}.parquet", asks, budget, tokens) for name in SPLITS}


def read_notes(prompts: Path, asks: Prompt) -> Iterator[tuple[str, str]]:
    """Id and note of each row of a file that `write_prompts` wrote, in the file's order."""
    import pyarrow.parquet as pq

    file = pq.ParquetFile(prompts)
    name = key(file.schema_arrow.names)
    for batch in file.iter_batches(_BATCH, columns=[name, "prompt"]):
        for row in batch.to_pylist():
            yield str(row[name]), asks.note(row["prompt"])


def _write(source: Path, target: Path, asks: Prompt, budget: int, tokens: ChatTokens) -> NoteCounts:
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = NoteCounts()
    if not source.is_file():
        raise UserError(f"{source}: no such file: run {WRITERS} first")
    with reading(source):
        rows = pq.ParquetFile(source)
    place = rows.schema_arrow.get_field_index("prompt")
    if place < 0:
        raise UserError(f"{source}: column prompt is missing: run {WRITERS} again")
    column = rows.schema_arrow.field(place)
    with disk_errors(target.parent), pq.ParquetWriter(target, rows.schema_arrow, compression="zstd") as writer:
        for batch in _batches(source, rows):
            shortened = shorten_notes(_whole_notes(source, batch.column(place).to_pylist()), asks, budget, tokens, SETTING)
            for one in shortened:
                counts.add(one)
            messages = pa.array([asks.messages(one.note) for one in shortened], column.type)
            writer.write_batch(batch.set_column(place, column, messages))
    return counts


def _batches(source: Path, rows: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    with reading(source):
        yield from rows.iter_batches(_BATCH)


def _whole_notes(source: Path, prompts: Sequence[Chat]) -> list[str]:
    try:
        return [prompt.DEEPICD.note(messages) for messages in prompts]
    except ValueError:
        raise UserError(f"{source}: prompts differ from those of this version: run {WRITERS} again") from None
