"""The result of a comparison in two sentences, derived from its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from deepicd.evaluation import comparable
from deepicd.evaluation.formatting import minus, percent, reward
from deepicd.evaluation.report.compared.inputs import MEASURES, Compared, value_of

_MOST_NAMES = 4


def verdict(compared: Compared) -> str:
    """Which model is best by the chosen measure, which models it beats beyond chance, and which it may not beat."""
    measure = compared.measure
    values = {name: value for name, own in compared.metrics.items() if (value := value_of(own, measure)) is not None}
    title = MEASURES[measure][0].lower() + MEASURES[measure][1:]
    if not values:
        return f"No model has a value of {title}."
    if reasons := compared.incomparable.get(measure):
        return f"No model has the highest {title}, which is {comparable.summary(reasons)}."
    best = max(values, key=lambda name: values[name])
    shown = minus(reward(values[best])) if measure == "reward" else f"{percent(values[best])}\u00a0%"
    first = f"{best} has the highest {title}, {shown}."
    if len(values) == 1:
        return f"{best} has a {title} of {shown}."
    beaten: list[str] = []
    unclear: list[str] = []
    for pair in compared.comparisons["pairs"]:
        if best in (pair["first"], pair["second"]) and measure in pair["differences"]:
            other = pair["first"] if pair["second"] == best else pair["second"]
            significant = pair["differences"][measure]["significant"]
            if significant is None:
                return f"{first} Without bootstrap samples, chance cannot be judged."
            (beaten if significant else unclear).append(other)
    sentences = [first]
    if beaten:
        sentences.append(f"It is better than {_list(beaten)} beyond chance.")
    if unclear:
        sentences.append(f"This test set cannot tell it from {_list(unclear)}.")
    return " ".join(sentences)


def _list(names: Sequence[str]) -> str:
    shown = list(names[:_MOST_NAMES])
    if len(names) > _MOST_NAMES + 1:
        return f"{', '.join(shown)} and {len(names) - _MOST_NAMES} more"
    shown = list(names)
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"
