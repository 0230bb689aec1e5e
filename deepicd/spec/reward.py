"""`spec.reward`: the terms that score a completion."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, StringConstraints, ValidationInfo, field_validator

from deepicd.spec.base import SpecModel
from deepicd.spec.changes import Later
from deepicd.spec.judge import TERM as JUDGE
from deepicd.spec.judge import JudgeSpec
from deepicd.spec.rules import exactly_one, given, never, read_by_field, requires
from deepicd.spec.wording import pattern

PresetName = Literal["deepicd", "deepicd-r1", "strict"]


@dataclass(frozen=True, slots=True)
class Preset:
    """A way to score: reward = Σ weight · term."""

    about: str
    weights: Mapping[str, float]
    """Weight of each term; every score of the preset has these terms, in addition to the run's own."""
    range: tuple[float, float]
    """Lowest and highest reward with these weights and without the run's own terms."""
    own_weights: bool = False
    """Whether run.yaml may change the weights; each term is then in [0, 1]."""


PRESETS: Mapping[PresetName, Preset] = {
    "deepicd": Preset(
        "our terms, each in [0, 1]",
        {"outcome": 0.5, "format": 0.1, "hierarchy": 0.3, "reasoning": 0.1},
        (0, 1),
        own_weights=True,
    ),
    "deepicd-r1": Preset(
        "the released formula as a baseline, without its judge, which both published jobs used",
        dict.fromkeys(("code", "trace", "several", "empty"), 1),
        (-math.inf, 106),
    ),
    "strict": Preset("right 2, wrong 0, no answer -1.5, no form -2", {"right": 2, "no_answer": -1.5, "no_form": -2}, (-2, 2)),
}
DEFAULT_WEIGHTS = dict(PRESETS["deepicd"].weights)
TAKEN_NAMES = (
    "score",
    JUDGE,
    f"{JUDGE}_missing",
    *dict.fromkeys(term for preset in PRESETS.values() for term in preset.weights),
)
"""Names that the run's own terms cannot have."""
_TERMS, _WEIGHTS = str([*DEFAULT_WEIGHTS]), str({term: float(weight) for term, weight in DEFAULT_WEIGHTS.items()})
_IS_OWN = f"((has(self.terms) && term in self.terms) || term == '{JUDGE}')"
_HAS_JUDGE = f"('{JUDGE}' in self.weights && self.weights['{JUDGE}'] > 0.0)"
OWN_WEIGHT = 1.0
"""Weight of the run's own term if none is given."""
TERM_PATTERN = pattern("^[a-z][a-z0-9_]{0,31}$", "lower-case letters, digits and '_', beginning with a letter, at most 32")
TermName = Annotated[str, StringConstraints(pattern=TERM_PATTERN)]
_NAME_PATTERN = pattern("^[A-Za-z_][A-Za-z0-9_]*$", "the name of a function")
_FUNCTION_PATTERN = pattern(
    r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$",
    "the path of a function, package.module:function",
)


def _describe(name: PresetName) -> str:
    preset = PRESETS[name]
    low, high = preset.range
    bounds = f"{low:g} to {high:g}" if math.isfinite(low) else f"at most {high:g}"
    return f"`{name}`: {preset.about} ({', '.join(preset.weights)}; {bounds})."


class OwnTerm(SpecModel):
    """The run's own term, a Python function. Exactly one of `file`, `path`."""

    file: Later[str | None] = Field(default=None, min_length=1, max_length=1024)
    """The Python file with the function that `function` names. Its content is part of the run. On a cluster it is a path in
    the pod (`compute.dataVolumes`: a ConfigMap or a volume). The function is called with a list of `deepicd.Sample` and returns
    a list with a number from 0 to 1 for each. NaN means that there is no value, and adds nothing to the reward."""
    function: Later[str | None] = Field(default=None, pattern=_NAME_PATTERN, max_length=128)
    """Name of the function in `file`."""
    path: str | None = Field(default=None, pattern=_FUNCTION_PATTERN, max_length=256)
    """A function from an installed package, `package.module:function`. It must be importable where the run trains. It is called
    with three lists (completions, right codes, notes; a note may be None) and returns a list with one finite number, or NaN,
    per completion."""

    rules = (
        exactly_one("file", "path"),
        requires("file", given("function"), "function: is missing: name the function in the file"),
        requires("path", never(given("function")), "function: goes with file: remove it, its path names the function"),
    )


class RewardSpec(SpecModel):
    """How completions are scored, in GRPO and in the evaluation: the sum of weight · term."""

    preset: PresetName = Field(default="deepicd", description=" ".join(map(_describe, PRESETS)))
    terms: Later[dict[TermName, OwnTerm] | None] = Field(default=None, max_length=8)
    """Your own terms, by name, in addition to those of the preset."""
    judge: Later[JudgeSpec | None] = None
    """A language model that adds the term `judge`, in [0, 1], to any preset. It needs `weights.judge`."""
    weights: dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        default={}, validate_default=True, max_length=16
    )
    """Weight of each term, by its name. By default a term of the preset `deepicd` has the preset's weight, and one of `terms`
    has 1; `judge` has no default. The terms of the other presets have fixed weights."""

    rules = (
        read_by_field(
            f"!has(self.terms) || self.terms.all(name, !(name in {list(TAKEN_NAMES)}))",
            "terms: a name is taken: choose another",
        ),
        read_by_field(f"!has(self.judge) || {_HAS_JUDGE}", "weights.judge: is missing or 0: give the judge a weight"),
        read_by_field(
            f"has(self.judge) || !('{JUDGE}' in self.weights)", "weights.judge: there is no judge: give reward.judge"
        ),
        *(
            read_by_field(
                f"self.preset != '{name}' || self.weights.all(term, {_IS_OWN} || "
                f"(term in {_WEIGHTS} && self.weights[term] == {_WEIGHTS}[term]))",
                f"weights: the preset '{name}' has fixed weights: give weights only to your own terms, or use preset 'deepicd'",
            )
            for name, preset in PRESETS.items()
            if not preset.own_weights
        ),
        read_by_field(
            f"self.preset != 'deepicd' || self.weights.all(term, term in {_TERMS} || {_IS_OWN})",
            "weights: a name is neither in terms nor a term of the preset 'deepicd': "
            f"its terms are {', '.join(DEFAULT_WEIGHTS)}",
        ),
        read_by_field(
            f"self.preset != 'deepicd' || {_TERMS}.exists(term, !(term in self.weights) || self.weights[term] > 0.0) "
            f"|| {_HAS_JUDGE} "
            "|| (has(self.terms) && self.terms.exists(term, !(term in self.weights) || self.weights[term] > 0.0))",
            "weights: all are 0, so every completion scores the same: give one term a weight",
        ),
    )

    @field_validator("terms")
    @classmethod
    def _own_names(cls, given: dict[str, OwnTerm] | None) -> dict[str, OwnTerm] | None:
        for name in given or {}:
            if name in TAKEN_NAMES:
                raise ValueError(f"'{name}' is taken: choose another name")
        return given

    @field_validator("weights")
    @classmethod
    def _every_term_has_its_weight(cls, given: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        name: PresetName | None = info.data.get("preset")
        if name is None or "terms" not in info.data or "judge" not in info.data:  # their own errors are reported
            return given
        if info.data["judge"] is not None and not given.get(JUDGE):
            raise ValueError(f"{JUDGE}: is missing or 0: give the judge a weight")
        if info.data["judge"] is None and JUDGE in given:
            raise ValueError(f"{JUDGE}: there is no judge: give reward.judge, or remove the weight")
        preset = PRESETS[name]
        weights = {**(preset.weights if preset.own_weights else {}), **dict.fromkeys(info.data["terms"] or {}, OWN_WEIGHT)}
        weights |= {} if info.data["judge"] is None else {JUDGE: given[JUDGE]}
        if not preset.own_weights:
            # Any preset accepts the default weights, because an API server, or a patch of only the preset, leaves them there.
            given = {term: weight for term, weight in given.items() if DEFAULT_WEIGHTS.get(term) != weight}
        for term in given:
            if term in weights:
                continue
            if not preset.own_weights:
                raise ValueError(
                    f"the preset '{name}' has fixed weights: give weights only to your own terms, or use preset 'deepicd'"
                )
            near = difflib.get_close_matches(term, weights, n=1, cutoff=0.6)
            known = f"did you mean '{near[0]}'?" if near else f"the terms are {', '.join(weights)}"
            raise ValueError(f"unknown term '{term}': {known}")
        weights |= given
        if preset.own_weights and not any(weights.values()):
            raise ValueError("all are 0, so every completion scores the same: give one term a weight")
        return weights

    @property
    def scores_reasoning(self) -> bool:
        """Whether the term `reasoning` has a weight."""
        return self.weights.get("reasoning", 0) > 0
