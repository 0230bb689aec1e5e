"""The result of a run in two sentences, derived from its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepicd.evaluation.formatting import excludes_zero, is_real, percent, signed_with_interval, with_interval
from deepicd.evaluation.metrics_schema import Measure

UNIT = "in points of macro F1 with 95 % intervals"
_ROUNDING = 1e-12
LEVEL_NAMES = {"chapter": "chapter level", "category": "category level", "code": "full code"}


@dataclass(frozen=True, slots=True)
class Difference:
    """Macro F1 of the second model minus that of the first at one level, on the same samples of patients."""

    level: str
    measure: Measure
    p: float | None = None
    """After Holm's correction; None if it was not computed, so that the interval decides."""

    @property
    def is_known(self) -> bool:
        """Whether the sign can be judged at all."""
        return self.measure["value"] is not None and (self.p is not None or self.measure["interval"] is not None)

    @property
    def is_none(self) -> bool:
        """Whether the two are equal on this test set and on every sample of it."""
        return all(
            end is not None and abs(end) < _ROUNDING for end in (self.measure["value"], *(self.measure["interval"] or ()))
        )

    @property
    def is_real(self) -> bool:
        """Whether the difference is beyond chance."""
        return is_real(self.measure, self.p)

    def __str__(self) -> str:
        return signed_with_interval(self.measure, percent)


def verdict(first: str, second: str, differences: Sequence[Difference], *, unit: str = f", {UNIT}") -> str:
    """Sentences about a pair of models, from the differences `second - first` at each level.

    The first sentence has differences beyond chance, the next ones those that are not or cannot be judged. `unit` says what the
    numbers are; it is empty if an earlier sentence has said it.
    """
    better = [one for one in differences if one.is_real and (one.measure["value"] or 0) > 0]
    worse = [one for one in differences if one.is_real and (one.measure["value"] or 0) < 0]
    equal = [one for one in differences if one.is_none]
    unclear = [one for one in differences if one.is_known and one not in (*better, *worse, *equal)]
    unknown = [one for one in differences if not one.is_known and one not in equal]
    sentences = []
    if better or worse:
        parts = [f"{word} than {_name(first)} at {_levels(of)}" for word, of in (("better", better), ("worse", worse)) if of]
        sentences.append(f"{_name(second)} is {', and '.join(parts)}{unit}.")
    if equal:
        places = _list([LEVEL_NAMES[one.level] for one in equal])
        sentences.append(f"{_name(second)} has the same macro F1 as {_name(first)} at {places}.")
    # An interval that excludes 0 would seem to contradict the sentence.
    corrected = ", after Holm's correction" if any(excludes_zero(one.measure) for one in unclear) else ""
    if unclear and sentences:
        sentences.append(f"At {_levels(unclear)} the test set cannot tell{corrected}.")
    elif unclear:
        names = f"{_name(second)} from {_name(first)}"
        sentences.append(f"The test set cannot tell {names} at {_levels(unclear)}{unit}{corrected}.")
    if unknown:
        found = _list([f"{one} at {LEVEL_NAMES[one.level]}" for one in unknown])
        sentences.append(
            f"{_name(second)} minus {_name(first)} is {found}, in points of macro F1 without an interval: it may be chance."
        )
    return " ".join(map(_capitalised, sentences))


def verdict_of_one(model: str, f1: Mapping[str, Measure]) -> str:
    """The same for a run with one model: its macro F1 by level."""
    parts = [f"{with_interval(own, percent)} at {LEVEL_NAMES[level]}" for level, own in f1.items()]
    return _capitalised(f"{_name(model)} has a macro F1 of {_list(parts)} (percent).")


def _capitalised(sentence: str) -> str:
    return sentence[0].upper() + sentence[1:] if sentence.startswith("the ") else sentence


def _name(model: str) -> str:
    return model.upper() if model in ("sft", "grpo") else "the base model" if model == "base" else model


def _levels(differences: Sequence[Difference]) -> str:
    return _list([f"{LEVEL_NAMES[one.level]} ({one})" for one in differences])


def _list(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
