"""README.md and tripod-llm.md of a trained model, filled from its run; neither holds note text."""

from deepicd.evaluation.card.files import write_cards

__all__ = ["write_cards"]
