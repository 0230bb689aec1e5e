"""The prediction record and predictions.parquet, which has ids, codes and names of faults, never note text."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepicd import atomic
from deepicd.completion import fault_of
from deepicd.errors import UserError

if TYPE_CHECKING:
    import pyarrow

_CODE = re.compile(r"[A-Z0-9]{1,8}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_COLUMNS = ("model", "id", "subject_id", "gold", "prediction", "faults", "reward", "terms")
_LATER_COLUMNS = ("fiscal_years", "local_gold", "samples", "confidence", "variants")
"""Missing from files of earlier versions, which get the defaults."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """One model's answer for one admission. Codes are upper case without dots."""

    id: str
    """The admission (`hadm_id` in MIMIC-IV)."""
    subject_id: str
    """The patient, which is the unit of the bootstrap."""
    gold: str
    """The right code."""
    prediction: str | None
    """The answered code, valid or not; None if the completion does not name exactly one code."""
    faults: tuple[str, ...] | None = ()
    """Faults of the completion (`deepicd.completion.Fault`); None if unknown."""
    reward: float | None = None
    """Reward of the completion; None (not 0) if unscored."""
    terms: Mapping[str, float] = field(default_factory=dict)
    """The reward's terms."""
    fiscal_years: tuple[int, int] | None = None
    """The first and last fiscal year that the admission can be in; None if unknown."""
    local_gold: bool = False
    """Whether the gold code is one of the hospital's own, which no release of ICD-10-CM has."""
    samples: tuple[str | None, ...] | None = None
    """Codes of the completions sampled in addition to the greedy one, in the order of sampling; None without sampling."""
    confidence: Mapping[str, float] = field(default_factory=dict)
    """The model's own probability of its answer by level, in [0, 1]; empty for models that state none."""
    variants: Mapping[str, str | None] = field(default_factory=dict)
    """Greedy answers for the same admission under another condition (`deepicd.evaluation.variants`), by its name."""


def valid_answers(predictions: Sequence[Prediction]) -> list[str | None]:
    """[N] each prediction that can be right, None for the others.

    A code can be right if it was billable in any release of ICD-10-CM, or is a local gold code of this test set.
    """
    return valid_codes((record.prediction for record in predictions), local_codes(predictions))


def local_codes(predictions: Sequence[Prediction]) -> set[str]:
    """The local gold codes of a test set."""
    return {record.gold for record in predictions if record.local_gold}


def valid_codes(codes: Iterable[str | None], local: Collection[str]) -> list[str | None]:
    """Each code that can be right, None for the others; see `valid_answers`."""
    return [code if code is not None and fault_of(code, local=code in local) is None else None for code in codes]


def write(path: Path, predictions: Mapping[str, Sequence[Prediction]]) -> None:
    """Write the predictions of all models to one Parquet file, in the given order.

    Raises:
        ValueError: a value is not an id, a code or a name, so it could be note text.
    """
    import pyarrow  # slow to import, and metrics need only the record
    from pyarrow import parquet

    rows = []
    for model, records in predictions.items():
        for record in records:
            _refuse_text(model, record)
            rows.append(
                {
                    "model": model,
                    "id": record.id,
                    "subject_id": record.subject_id,
                    "gold": record.gold,
                    "prediction": record.prediction,
                    "faults": None if record.faults is None else list(record.faults),
                    "reward": record.reward,
                    "terms": list(record.terms.items()),
                    "fiscal_years": None if record.fiscal_years is None else list(record.fiscal_years),
                    "local_gold": record.local_gold,
                    "samples": None if record.samples is None else list(record.samples),
                    "confidence": list(record.confidence.items()),
                    "variants": list(record.variants.items()),
                }
            )
    schema = pyarrow.schema(
        [(name, pyarrow.string()) for name in _COLUMNS[:5]]
        + [
            ("faults", pyarrow.list_(pyarrow.string())),
            ("reward", pyarrow.float64()),
            ("terms", pyarrow.map_(pyarrow.string(), pyarrow.float64())),
            ("fiscal_years", pyarrow.list_(pyarrow.int32())),
            ("local_gold", pyarrow.bool_()),
            ("samples", pyarrow.list_(pyarrow.string())),
            ("confidence", pyarrow.map_(pyarrow.string(), pyarrow.float64())),
            ("variants", pyarrow.map_(pyarrow.string(), pyarrow.string())),
        ]
    )
    with atomic.replacing(path) as file:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), file, compression="zstd")


def _refuse_text(model: str, record: Prediction) -> None:
    names = {"model": [model], "id": [record.id], "subject_id": [record.subject_id]}
    names |= {"faults": list(record.faults or ()), "terms": list(record.terms)}
    names |= {"confidence": list(record.confidence), "variants": list(record.variants)}
    for column, values in names.items():
        if not all(_NAME.fullmatch(value) for value in values):
            raise ValueError(f"predictions: {column}: a value is not an id or name of at most 64 characters")
    codes = [("gold", record.gold), ("prediction", record.prediction)]
    codes += [("samples", code) for code in record.samples or ()]
    codes += [("variants", code) for code in record.variants.values()]
    for column, code in codes:
        if code is not None and not _CODE.fullmatch(code):
            raise ValueError(f"predictions: {column} of {record.id}: is not a code of at most 8 letters and digits")


def read_table(path: Path) -> pyarrow.Table:
    """Read predictions.parquet: the columns that `write` writes, without those that an earlier version did not write.

    Raises:
        UserError: the file is missing, is not a Parquet file, or lacks a column.
    """
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist: evaluate the run first") from None
    except (OSError, pyarrow.ArrowException):
        raise UserError(f"{path}: is not a readable Parquet file: evaluate the run again") from None
    missing = [name for name in _COLUMNS if name not in table.column_names]
    if missing:
        raise UserError(f"{path}: lacks column {', '.join(missing)}: evaluate the run again")
    return table.select([*_COLUMNS, *(name for name in _LATER_COLUMNS if name in table.column_names)])


def read(path: Path) -> dict[str, list[Prediction]]:
    """Read predictions.parquet: the predictions of each model, in the file's order.

    Raises:
        UserError: as for `read_table`.
    """
    predictions: dict[str, list[Prediction]] = {}
    for row in read_table(path).to_pylist():
        model = row.pop("model")
        for name in ("terms", "confidence", "variants"):
            if name in row:
                row[name] = dict(row[name] or ())
        for name in ("faults", "fiscal_years", "samples"):
            if row.get(name) is not None:
                row[name] = tuple(row[name])
        predictions.setdefault(model, []).append(Prediction(**row))
    return predictions
