"""Scores completions: pure terms in [0, 1], one file each, their weighted sum, and two other presets."""

from deepicd.rewards.presets import make_scorer
from deepicd.rewards.sample import Sample, Score, Scorer

__all__ = ["Sample", "Score", "Scorer", "make_scorer"]
