"""SFT examples: admission notes joined with reasoning traces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepicd import prompt
from deepicd.data.output import together
from deepicd.data.prompts import ChatTokens, ExampleCounts, read_notes
from deepicd.data.shorten import shorten, split
from deepicd.data.tables import reading
from deepicd.errors import UserError
from deepicd.prompt import Prompt

if TYPE_CHECKING:
    import pyarrow as pa

_TAG = re.compile(r"</?(?:think|diagnosis)\b", re.IGNORECASE)
_BATCH = 1024


@dataclass(frozen=True, slots=True)
class Examples:
    """Counts. `without_trace`: admissions left out; `refused`: their trace is empty or holds an answer tag."""

    written: int
    without_trace: int
    refused: int


def write(train: Path, traces: Path, out: Path) -> Examples:
    """Write rows of `messages` (prompt and assistant turn) and `hadm_id`, in the order of `train`.

    Args:
        train: Parquet file written by `deepicd.data.mimic.extract`.
        traces: JSON lines `{"hadm_id": int, "trace": str}`, each admission once; held in memory (its size, once).
        out: the Parquet file to write; it appears complete or not at all.

    Raises:
        UserError: a file is missing or damaged, a line is not of that form, no admission has a trace, the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_admission = _read(traces)
    message = pa.struct({"role": pa.string(), "content": pa.string()})
    schema = pa.schema({"messages": pa.list_(message), "hadm_id": pa.int64()})
    written = without = refused = 0
    with together(out.parent) as work:
        with pq.ParquetWriter(work / out.name, schema, compression="zstd") as writer:
            for batch in _batches(train):
                rows = []
                for row in batch.to_pylist():
                    trace = by_admission.get(row["hadm_id"])
                    if trace is None:
                        without += 1
                    elif not trace.strip() or _TAG.search(trace):
                        refused += 1
                    else:
                        turn = {"role": "assistant", "content": prompt.answer(trace, row["code"])}
                        rows.append({"messages": [*row["prompt"], turn], "hadm_id": row["hadm_id"]})
                written += len(rows)
                if rows:
                    writer.write_table(pa.Table.from_pylist(rows, schema=schema))
        if not written:
            raise UserError(f"{traces}: no admission of {train} has a usable trace: check that both are of one cohort")
    return Examples(written, without, refused)


def fit(examples: Path, prompts: Path, asks: Prompt, budget: int, tokens: ChatTokens) -> ExampleCounts:
    """Give the examples of `write` the notes that the other stages see, and keep each within its length.

    Where prompt and answer are longer, the note is shortened more; where the answer alone is, the example is dropped. An
    answer is never cut.

    Args:
        examples: the file that `write` wrote, which is replaced.
        prompts: the training split as `deepicd.data.prompts.write_prompts` wrote it.
        asks: its prompt.
        budget: tokens of an example, prompt and answer.
        tokens: of the model.

    Raises:
        UserError: no example is left, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = ExampleCounts()
    seen = read_notes(prompts, asks)
    source = pq.ParquetFile(examples)
    with together(examples.parent) as work:
        with pq.ParquetWriter(work / examples.name, source.schema_arrow, compression="zstd") as writer:
            for batch in source.iter_batches(_BATCH):
                rows = batch.to_pylist()
                for row in rows:  # both files have the order of the cohort
                    note = next(note for hadm_id, note in seen if hadm_id == row["hadm_id"])
                    row["messages"] = [*asks.messages(note), row["messages"][-1]]
                lengths = tokens.count([row["messages"] for row in rows], answered=True)
                kept = []
                for row, length in zip(rows, lengths, strict=True):
                    if length <= budget or _shorten(row, asks, budget, tokens):
                        kept.append(row)
                        counts.shortened += length > budget
                counts.written += len(kept)
                counts.dropped += len(rows) - len(kept)
                if kept:
                    writer.write_table(pa.Table.from_pylist(kept, schema=source.schema_arrow))
        if not counts.written:
            raise UserError(f"spec.stages.sft.maxTokens: no example fits into {budget} tokens, even without its note: raise it")
    return counts


def _shorten(row: dict[str, Any], asks: Prompt, budget: int, tokens: ChatTokens) -> bool:
    """Shorten an example's note until the example is within the budget; False where its answer is too long for that."""
    turn = row["messages"][-1]

    def length(note: str) -> int:
        [counted] = tokens.count([[*asks.messages(note), turn]], answered=True)
        return counted

    if length("") > budget:
        return False
    note = shorten(split(asks.note(row["messages"][:-1])), budget, length).note
    row["messages"] = [*asks.messages(note), turn]
    return True


def _read(path: Path) -> dict[int, str]:
    traces: dict[int, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        admission, trace = _parse(line)
        if admission is None or trace is None:
            raise UserError(f'{path}: line {number} is not {{"hadm_id": number, "trace": text}}: correct or remove it')
        if admission in traces:
            raise UserError(f"{path}: line {number}: hadm_id {admission} has a trace already: keep one of them")
        traces[admission] = trace
    return traces


def _parse(line: str) -> tuple[int | None, str | None]:
    try:
        value: Any = json.loads(line)
    except json.JSONDecodeError:
        return None, None
    if not isinstance(value, dict):
        return None, None
    admission, trace = value.get("hadm_id"), value.get("trace")
    valid = isinstance(admission, int) and not isinstance(admission, bool) and isinstance(trace, str)
    return (admission, trace) if valid else (None, None)


def _lines(path: Path) -> Iterator[str]:
    failure = None
    try:
        with path.open(encoding="utf-8") as file:
            yield from file
    except FileNotFoundError:
        failure = f"{path}: no such file: give the JSON-lines file of traces (spec.data.traces)"
    except UnicodeDecodeError:
        failure = f"{path}: is not UTF-8 text: give the JSON-lines file of traces"
    if failure is not None:
        raise UserError(failure)


def _batches(train: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow.parquet as pq

    if not train.is_file():
        raise UserError(f"{train}: no such file: run `deepicd data mimic` first")
    with reading(train):
        source = pq.ParquetFile(train)
        missing = {"hadm_id", "code", "prompt"} - set(source.schema_arrow.names)
    if missing:
        raise UserError(f"{train}: column {', '.join(sorted(missing))} is missing: run `deepicd data mimic` again")
    with reading(train):
        yield from source.iter_batches(_BATCH, columns=["hadm_id", "code", "prompt"])
