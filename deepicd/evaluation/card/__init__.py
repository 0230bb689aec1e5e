"""README.md and tripod-llm.md of a trained model, filled from its run; neither contains note text."""

from deepicd.evaluation.card.files import write_cards

__all__ = ["write_cards"]
