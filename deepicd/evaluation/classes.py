"""by_class.parquet: support, precision, recall and F1 of each class at each level, for each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepicd import atomic, icd10
from deepicd.errors import UserError
from deepicd.evaluation import classification
from deepicd.evaluation.levels import Level, chapter_of, chapter_title
from deepicd.evaluation.predictions import Prediction
from deepicd.evaluation.statistics import encode


def rows(by_model: Mapping[str, Sequence[Prediction]], train_counts: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """A row for each model, level and class that occurs as gold or as a valid prediction, in this order.

    Fields: model, level, class, title (None for a local code), chapter (0: none), support (admissions with it as gold),
    predicted, right, precision (None where it was never predicted), recall (None where it is never gold), f1, and training
    (admissions of the training set; None without `train_counts`, which is by code).
    """
    found = []
    for model, records in by_model.items():
        local = {code for code in train_counts or () if not icd10.is_valid(code)}
        test = encode(records, train_counts, local)
        ones = np.ones((len(records), 1))
        for level in Level:
            labels = test.labels[level]
            counts = classification.count(labels, ones)
            right, gold, predicted = (
                column[:, 0].astype(int).tolist() for column in (counts.true_positives, counts.gold, counts.predicted)
            )
            for place, name in enumerate(labels.classes):
                found.append(
                    {
                        "model": model,
                        "level": level.value,
                        "class": name,
                        "title": _title(name, level),
                        "chapter": int(name) if level is Level.CHAPTER else chapter_of(name),
                        "support": gold[place],
                        "predicted": predicted[place],
                        "right": right[place],
                        "precision": right[place] / predicted[place] if predicted[place] else None,
                        "recall": right[place] / gold[place] if gold[place] else None,
                        "f1": 2 * right[place] / (gold[place] + predicted[place]),
                        "training": None if test.training is None else test.training[level].get(name, 0),
                    }
                )
    return found


def read(path: Path) -> list[dict[str, Any]]:
    """Read the rows back.

    Raises:
        UserError: the file does not have this format.
    """
    import pyarrow
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path, columns=list(_kinds())).to_pylist()  # type: ignore[no-any-return]
    except (OSError, pyarrow.ArrowException):
        raise UserError(f"{path}: is not a readable table of classes: evaluate the run again") from None


def write(path: Path, found: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows to a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with atomic.replacing(path) as file:
        pq.write_table(pa.Table.from_pylist(list(found), schema=pa.schema(_kinds())), file, compression="zstd")


def _kinds() -> dict[str, Any]:
    import pyarrow as pa

    text, whole, share = pa.string(), pa.int64(), pa.float64()
    kinds = {"model": text, "level": text, "class": text, "title": text}
    kinds |= dict.fromkeys(("chapter", "support", "predicted", "right"), whole)
    return kinds | dict.fromkeys(("precision", "recall", "f1"), share) | {"training": whole}


def _title(name: str, level: Level) -> str | None:
    if level is Level.CHAPTER:
        return chapter_title(int(name))
    return icd10.description(name) if icd10.is_valid(name) else None
