"""`spec.reward`: which terms a completion is scored by."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.rules import read_by_field

PresetName = Literal["deepicd", "deepicd-r1", "strict"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to score: reward = Σ weight · term."""

    about: str
    weights: Mapping[str, float]
    """Weight of each term; every score of the preset has these terms."""
    range: tuple[float, float]
    """Least and highest reward with these weights."""
    own_weights: bool = False
    """Whether run.yaml may give other weights; then each term is in [0, 1]."""


PRESETS: Mapping[PresetName, Preset] = {
    "deepicd": Preset(
        "our terms, each in [0, 1]",
        {"outcome": 0.5, "format": 0.1, "hierarchy": 0.3, "reasoning": 0.1},
        (0, 1),
        own_weights=True,
    ),
    "deepicd-r1": Preset(
        "the released formula without its judge, which both published jobs had on; a baseline",
        dict.fromkeys(("code", "trace", "several", "empty"), 1),
        (-math.inf, 106),
    ),
    "strict": Preset("right 2, wrong 0, no answer -1.5, no form -2", {"right": 2, "no_answer": -1.5, "no_form": -2}, (-2, 2)),
}
DEFAULT_WEIGHTS = PRESETS["deepicd"].weights
_TERMS, _WEIGHTS = str([*DEFAULT_WEIGHTS]), str({term: float(weight) for term, weight in DEFAULT_WEIGHTS.items()})


def _describe(name: PresetName) -> str:
    preset = PRESETS[name]
    low, high = preset.range
    bounds = f"{low:g} to {high:g}" if math.isfinite(low) else f"at most {high:g}"
    return f"`{name}`: {preset.about} ({', '.join(preset.weights)}; {bounds})."


class RewardSpec(SpecModel):
    """How completions are scored, in GRPO and in the evaluation."""

    preset: PresetName = Field(default="deepicd", description=" ".join(map(_describe, PRESETS)))
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default=dict(DEFAULT_WEIGHTS), validate_default=True, max_length=16
    )
    """Weight of each term, by its name; a term that is left out has its default.
    Presets other than `deepicd` have weights of their own."""

    rules = (
        *(
            read_by_field(
                f"self.preset != '{name}' || "
                f"self.weights.all(term, term in {_WEIGHTS} && self.weights[term] == {_WEIGHTS}[term])",
                f"weights: the preset '{name}' has fixed weights: remove them or use preset 'deepicd'",
            )
            for name, preset in PRESETS.items()
            if not preset.own_weights
        ),
        read_by_field(
            f"self.preset != 'deepicd' || self.weights.all(term, term in {_TERMS})",
            f"weights: a name is no term of the preset 'deepicd': its terms are {', '.join(DEFAULT_WEIGHTS)}",
        ),
        read_by_field(
            f"self.preset != 'deepicd' || {_TERMS}.exists(term, !(term in self.weights) || self.weights[term] > 0.0)",
            "weights: all are 0, so every completion scores the same: give one term a weight",
        ),
    )

    @field_validator("weights")
    @classmethod
    def _every_term_has_its_weight(cls, given: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        name: PresetName | None = info.data.get("preset")
        if name is None:  # its own error is reported
            return given
        preset = PRESETS[name]
        if not preset.own_weights:
            # The default weights may be written out beside any preset, as a dumped run and the API server do.
            if any(DEFAULT_WEIGHTS.get(term) != weight for term, weight in given.items()):
                raise ValueError(f"the preset '{name}' has fixed weights: remove them or use preset 'deepicd'")
            return dict(DEFAULT_WEIGHTS)
        for term in given:
            if term not in preset.weights:
                near = difflib.get_close_matches(term, preset.weights, n=1, cutoff=0.6)
                known = f"did you mean '{near[0]}'?" if near else f"the terms are {', '.join(preset.weights)}"
                raise ValueError(f"unknown term '{term}': {known}")
        weights = {**preset.weights, **given}
        if not any(weights.values()):
            raise ValueError("all are 0, so every completion scores the same: give one term a weight")
        return weights
