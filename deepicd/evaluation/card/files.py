"""Writes the cards of a run's models."""

from __future__ import annotations

from pathlib import Path

from deepicd import atomic
from deepicd.evaluation.card.model_card import model_card
from deepicd.evaluation.card.tripod import tripod_llm
from deepicd.evaluation.report import Report
from deepicd.run_layout import CARDS, TRAINING_STAGES, RunLayout


def write_cards(report: Report, layout: RunLayout) -> list[Path]:
    """Write the cards of each trained model into its folder, and into the run's results; returns their paths.

    Results are uploaded each time they change, but a model only once, so the store has the cards next to the results.
    """
    written = []
    for model in (name for name in report.metrics if name in TRAINING_STAGES):
        texts = dict(zip(CARDS, (model_card(report, model), tripod_llm(report, model)), strict=True))
        for folder in (layout.evaluation.cards / model, layout.maker(model).model):
            for name, text in texts.items():
                atomic.write(folder / name, text)
                written.append(folder / name)
    return written
