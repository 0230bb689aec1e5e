"""The scratch file between reading notes and selecting the cohort: the kept text of each note, and its place in the source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deepicd.data import sections


@contextmanager
def writing(path: Path, *, numeric: bool) -> Iterator[Callable[[Sequence[dict[str, Any]]], None]]:
    """Open the Parquet file and yield a function that appends rows to it.

    Columns: place (row in the source, from 1), id (of the admission; an integer if `numeric`, else text), note_id, note_seq,
    and those of `cut`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    span = pa.struct({"section": pa.string(), "start": pa.int64(), "end": pa.int64()})
    lost = pa.struct({"section": pa.string(), "characters": pa.int64()})
    schema = pa.schema(
        {"place": pa.int64(), "id": pa.int64() if numeric else pa.string(), "note_id": pa.string(), "note_seq": pa.int64(),
         "sex": pa.string(), "note": pa.string(), "unbroken": pa.bool_(), "later": pa.int64(), "spans": pa.list_(span),
         "cut": pa.list_(lost)}
    )  # fmt: skip
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def cut(text: str) -> dict[str, Any]:
    """The admission note of a discharge summary (`deepicd.data.sections.Admission`).

    Columns: sex (from the summary's head, or null), note (null if nothing is of the admission), unbroken (refused, since its
    line breaks are lost), and later, spans and cut as in `Admission`.
    """
    found = sections.parse(text)
    return {
        "sex": sections.sex(text),
        "note": None if sections.is_empty(found.sections) else sections.render(found.sections),
        "unbroken": found.unbroken,
        "later": found.later,
        "spans": [{"section": span.kind.value, "start": span.start, "end": span.end} for span in found.spans],
        "cut": [{"section": kind.value, "characters": number} for kind, number in found.cut.items()],
    }


def whole(text: str) -> dict[str, Any]:
    """The columns of `cut` for a note that is taken as it is; one without a letter or digit is empty."""
    note = text if sections.has_words(text) else None
    return {"sex": sections.sex(text), "note": note, "unbroken": False, "later": len(text), "spans": [], "cut": []}
