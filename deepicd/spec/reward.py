"""`spec.reward`: which terms a completion is scored by."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel


class RewardWeights(SpecModel):
    """Weights of the reward's terms; each term lies in [0, 1]."""

    outcome: float = Field(default=0.5, ge=0)
    """The answer is exactly the gold code."""
    format: float = Field(default=0.1, ge=0)
    """The completion has the asked-for form."""
    hierarchy: float = Field(default=0.3, ge=0)
    """Share of the gold code's levels (chapter, category, each further character) that the answer gets right."""
    reasoning: float = Field(default=0.1, ge=0)
    """The trace argues from the note in words of its own; naming the answer earns nothing."""


class RewardSpec(SpecModel):
    """How completions are scored, in GRPO and in the evaluation."""

    preset: Literal["deepicd", "deepicd-r1"] = "deepicd"
    """`deepicd`: weighted sum of our terms. `deepicd-r1`: the released model's formula, as a baseline."""
    weights: RewardWeights = RewardWeights()
    """Weights of the terms; only for `preset: deepicd`."""

    @model_validator(mode="after")
    def _weights_have_an_effect(self) -> Self:
        if self.preset == "deepicd-r1" and self.weights != RewardWeights():
            raise ValueError("weights: the preset 'deepicd-r1' has fixed weights: remove them or use preset 'deepicd'")
        if self.preset == "deepicd" and not any(self.weights.model_dump().values()):
            raise ValueError("weights: all are 0, so every completion scores the same: give one term a weight")
        return self
