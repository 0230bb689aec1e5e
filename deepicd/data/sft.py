"""SFT examples: admission notes joined with reasoning traces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from deepicd import atomic, prompt
from deepicd.data import rows
from deepicd.data.atomic_output import atomic_output
from deepicd.data.cohort import WRITERS
from deepicd.data.prompts import ChatTokens, ExampleCounts, read_notes
from deepicd.data.shorten import shorten, split
from deepicd.data.tables import reading
from deepicd.errors import UserError
from deepicd.json_lines import ROUNDED, check_names, is_rounded, read_object
from deepicd.prompt import Prompt

_TAG = re.compile(r"</?(?:think|diagnosis)\b", re.IGNORECASE)
_AROUND = re.compile(r"\A\s*<think>|</think>\s*\Z", re.IGNORECASE)
_FIELDS = ("id", "hadm_id", "trace")
_COLUMNS = ("subject_id", "code", "prompt")
_BATCH = 1024
_FIRST = 100
"""Lines that `look` reads."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Counts. `traces` = `written` + `empty` + `tagged` + `elsewhere`."""

    traces: int
    """Traces that were read."""
    written: int
    """Examples."""
    untagged: int
    """Examples whose trace had `<think>` tags around it, which were removed."""
    empty: int
    """Traces without text."""
    tagged: int
    """Traces with a tag of the answer inside their text."""
    elsewhere: int
    """Traces of admissions that are not in the training split."""
    without_trace: int
    """Training admissions without a trace."""

    def write(self, path: Path) -> None:
        """Write the counts as JSON."""
        atomic.write_json(path, asdict(self))

    @classmethod
    def read(cls, path: Path) -> Examples | None:
        """What `write` wrote; None if there is no such file, as in runs without SFT or of an earlier version."""
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None


def write(train: Path, traces: Path, out: Path) -> Examples:
    """Write the examples: rows of `messages` (prompt and assistant turn), `id` and `subject_id`, in the order of `train`.

    Args:
        train: the training split of a cohort.
        traces: JSON lines `{"id": …, "trace": text}`, each admission at most once; one copy is held in memory. An id is text or
            a whole number; the field may also be called `hadm_id`. `<think>` before the text and `</think>` after it
            are removed.
        out: the Parquet file to write; it appears complete or not at all.

    Raises:
        UserError: a file is missing or damaged, a line does not have that form, no admission has a usable trace, or the disk
            is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    by_admission = _read(traces)
    message = pa.struct({"role": pa.string(), "content": pa.string()})
    schema = pa.schema({"messages": pa.list_(message), "id": pa.string(), "subject_id": pa.string()})
    number, written, untagged, empty, tagged, without = len(by_admission), 0, 0, 0, 0, 0
    with atomic_output(out.parent) as work:
        with pq.ParquetWriter(work / out.name, schema, compression="zstd") as writer:
            for batch in _batches(train):
                examples = []
                for row in batch:
                    given = by_admission.pop(row["id"], None)
                    trace = None if given is None else _AROUND.sub("", given)
                    if trace is None:
                        without += 1
                    elif not trace.strip():
                        empty += 1
                    elif _TAG.search(trace):
                        tagged += 1
                    else:
                        untagged += trace != given
                        turn = {"role": "assistant", "content": prompt.answer(trace, row["code"])}
                        examples.append(
                            {"messages": [*row["prompt"], turn], "id": row["id"], "subject_id": str(row["subject_id"])}
                        )
                written += len(examples)
                if examples:
                    writer.write_table(pa.Table.from_pylist(examples, schema=schema))
        if not written:
            found = f"{len(by_admission)} of other admissions, {empty} empty, {tagged} with <think> or <diagnosis> inside"
            raise UserError(
                f"{traces}: no admission of {train} has a usable trace ({number} traces: {found}): "
                "check that both belong to the same cohort, and give only the reasoning"
            )
    return Examples(number, written, untagged, empty, tagged, len(by_admission), without)


def fit(examples: Path, prompts: Path, asks: Prompt, budget: int, tokens: ChatTokens) -> ExampleCounts:
    """Give the examples of `write` the notes that the other stages see, and keep each example within its budget.

    If prompt and answer exceed the budget, the note is shortened further. If the answer alone does, the example is dropped. An
    answer is never cut.

    Args:
        examples: the file that `write` wrote, which is replaced.
        prompts: the training split as `deepicd.data.prompts.write_prompts` wrote it.
        asks: the prompt of that file.
        budget: tokens of an example, prompt and answer together.
        tokens: counts the model's tokens.

    Raises:
        UserError: no example is left, or the disk is full.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    counts = ExampleCounts()
    seen = read_notes(prompts, asks)
    source = pq.ParquetFile(examples)
    with atomic_output(examples.parent) as work:
        with pq.ParquetWriter(work / examples.name, source.schema_arrow, compression="zstd") as writer:
            for batch in source.iter_batches(_BATCH):
                some = batch.to_pylist()
                for row in some:  # both files are in the order of the cohort
                    note = next(note for admission, note in seen if admission == row["id"])
                    row["messages"] = [*asks.messages(note), row["messages"][-1]]
                lengths = tokens.count([row["messages"] for row in some], answered=True)
                kept = []
                for row, length in zip(some, lengths, strict=True):
                    if length <= budget or _shorten(row, asks, budget, tokens):
                        kept.append(row)
                        counts.shortened += length > budget
                counts.written += len(kept)
                counts.dropped += len(some) - len(kept)
                if kept:
                    writer.write_table(pa.Table.from_pylist(kept, schema=source.schema_arrow))
        if not counts.written:
            raise UserError(f"spec.stages.sft.maxTokens: no example fits into {budget} tokens, even without its note: raise it")
    return counts


def _shorten(row: dict[str, Any], asks: Prompt, budget: int, tokens: ChatTokens) -> bool:
    """Shorten an example's note until the example is within the budget; False if its answer is too long for that."""
    turn = row["messages"][-1]

    def length(note: str) -> int:
        [counted] = tokens.count([[*asks.messages(note), turn]], answered=True)
        return counted

    if length("") > budget:
        return False
    note = shorten(split(asks.note(row["messages"][:-1])), budget, length).note
    row["messages"] = [*asks.messages(note), turn]
    return True


def look(traces: Path) -> None:
    """Look at the first lines of a file of traces.

    Raises:
        UserError: the file is missing or has no line, or one of these lines is not a trace.
    """
    if not sum(1 for _ in islice(_traces(traces), _FIRST)):
        raise UserError(f'{traces}: is empty: give a line {{"id": …, "trace": …}} for each admission')


def _read(path: Path) -> dict[str, str]:
    traces: dict[str, str] = {}
    for number, admission, trace in _traces(path):
        if admission in traces:
            raise UserError(f"{path}: line {number}: its id already has a trace: keep one of them")
        traces[admission] = trace
    return traces


def _traces(path: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, id of the admission, and trace."""
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            yield number, *_parse(line, f"{path}: line {number}")


def _parse(line: str, where: str) -> tuple[str, str]:
    value = read_object(line, where, 'give {"id": …, "trace": "…"}')
    check_names(value, _FIELDS, where)
    # Files of earlier versions have hadm_id; an id next to it was never read.
    admission, trace = value.get("hadm_id", value.get("id")), value.get("trace")
    if is_rounded(admission):
        raise UserError(f"{where}: id: {ROUNDED}")
    if not isinstance(admission, int | str) or isinstance(admission, bool) or not isinstance(trace, str):
        raise UserError(f'{where} is not {{"id": text or number, "trace": text}}: correct or remove it')
    try:
        trace.encode()
    except UnicodeEncodeError:
        raise UserError(
            f"{where}: trace: has half of a character (\\ud800 to \\udfff), which cannot be stored: correct it"
        ) from None
    return str(admission).strip(), trace


def _lines(path: Path) -> Iterator[str]:
    failure = None
    try:
        with path.open(encoding="utf-8-sig") as file:  # some editors begin a file with a byte order mark
            yield from file
    except FileNotFoundError:
        failure = f"{path}: no such file: give the JSON-lines file of traces (spec.data.traces)"
    except OSError as error:
        failure = f"{path}: cannot be read ({error.strerror}): give the JSON-lines file of traces (spec.data.traces)"
    except UnicodeDecodeError:
        failure = f"{path}: is not UTF-8 text: give the JSON-lines file of traces"
    if failure is not None:
        raise UserError(failure)


def _batches(train: Path) -> Iterator[list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    if not train.is_file():
        raise UserError(f"{train}: no such file: run {WRITERS} first")
    with reading(train):
        source = pq.ParquetFile(train)
        names = source.schema_arrow.names
        key = rows.key(names)
        missing = {key, *_COLUMNS} - set(names)
    if missing:
        raise UserError(f"{train}: column {', '.join(sorted(missing))} is missing: run {WRITERS} again")
    with reading(train):
        for batch in source.iter_batches(_BATCH, columns=[key, *_COLUMNS]):
            yield [row | {"id": str(row[key])} for row in batch.to_pylist()]
