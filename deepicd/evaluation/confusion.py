"""Confusion between chapters: the predicted chapters of the admissions of each gold chapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepicd.evaluation.classification import IntArray
from deepicd.evaluation.levels import chapter_of
from deepicd.evaluation.predictions import Prediction, valid_answers

SHORT_TITLES = (
    "No chapter",
    "Infectious",
    "Neoplasms",
    "Blood, immune",
    "Endocrine",
    "Mental",
    "Nervous system",
    "Eye",
    "Ear",
    "Circulatory",
    "Respiratory",
    "Digestive",
    "Skin",
    "Musculoskeletal",
    "Genitourinary",
    "Pregnancy",
    "Perinatal",
    "Congenital",
    "Symptoms",
    "Injury, poisoning",
    "External causes",
    "Health factors",
    "Special purposes",
)
"""Short titles of chapters 0 (`levels.NO_CHAPTER`) to 22, because the official ones are too long."""


@dataclass(frozen=True, slots=True)
class Confusion:
    """Admissions by gold and predicted chapter."""

    gold: tuple[int, ...]
    """Chapters of the rows: those that occur as gold."""
    predicted: tuple[int, ...]
    """Chapters of the columns. A further, last column counts admissions without a valid prediction."""
    admissions: IntArray
    """[rows, columns] counts."""


def by_chapter(predictions: Sequence[Prediction]) -> Confusion:
    """Count admissions by gold and predicted chapter."""
    pairs = [
        (chapter_of(record.gold), None if answer is None else chapter_of(answer))
        for record, answer in zip(predictions, valid_answers(predictions), strict=True)
    ]
    gold = tuple(sorted({chapter for chapter, _ in pairs}))
    predicted = tuple(sorted({*gold, *(chapter for _, chapter in pairs if chapter is not None)}))
    admissions = np.zeros((len(gold), len(predicted) + 1), dtype=np.int64)
    for row, column in pairs:
        admissions[gold.index(row), len(predicted) if column is None else predicted.index(column)] += 1
    return Confusion(gold, predicted, admissions)
