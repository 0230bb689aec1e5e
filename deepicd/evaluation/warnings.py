"""What a reader of the metrics should know before the numbers: the first lines of the report and of the run's end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import hypot
from typing import Any

from deepicd.data.left_out import LeftOut
from deepicd.evaluation.formatting import percent, signed
from deepicd.evaluation.metrics_schema import Measure, Metrics
from deepicd.run_layout import MODELS

SYNTHETIC = "Synthetic data: the admissions are invented, so the scores say nothing about medicine."
MOST_TRUNCATED = 0.1
LEAST_FORMAT = 0.5
MOST_LOST = 0.05
"""Share of the admissions, notes or traces that may be lost against the run's intention."""
_OUTCOMES = ("outcome", "right")
"""Terms of the presets that say whether the code is right."""


def warnings(metrics: Mapping[str, Metrics], *, synthetic: bool, left_out: Sequence[Mapping[str, Any]] = ()) -> list[str]:
    """One line each, the most important first; none if there is nothing to say.

    Args:
        metrics: of every model, those of the training last and in its order.
        synthetic: whether the admissions are invented.
        left_out: what the run did not use (`LeftOut`, as mappings).
    """
    found = [SYNTHETIC] if synthetic else []
    return [
        *found,
        *_all_zero(metrics),
        *_formless(metrics),
        *_truncated(metrics),
        *_few_patients(metrics),
        *_reward_without_outcome({model: own for model, own in metrics.items() if model in MODELS}),
        *_lost([LeftOut(**one) for one in left_out]),
    ]


def _all_zero(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    zero = [model for model, own in metrics.items() if all(not level["macroF1"]["value"] for level in own["levels"].values())]
    if len(zero) == len(metrics):
        yield "All scores are 0: no model named a single right chapter."
    elif list(metrics)[-1] in zero:
        yield f"All scores of {list(metrics)[-1]} are 0: it named no right chapter, though another model did."


def _formless(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    shares = {model: own["rates"]["format"]["value"] for model, own in metrics.items() if model != "base"}
    few = [f"{model} {percent(share)} %" for model, share in shares.items() if share is not None and share < LEAST_FORMAT]
    if few:
        yield f"Fewer than {100 * LEAST_FORMAT:.0f} % of the completions have the required format: {', '.join(few)}."


def _truncated(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    shares = {model: own["rates"]["faults"].get("truncated", {"value": None})["value"] for model, own in metrics.items()}
    many = [f"{model} {percent(share)} %" for model, share in shares.items() if share is not None and share > MOST_TRUNCATED]
    if many:
        yield (
            f"More than {100 * MOST_TRUNCATED:.0f} % of the completions were cut off at the token limit "
            f"(stages.grpo.maxResponseTokens): {', '.join(many)}."
        )


def _few_patients(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    # Metrics of earlier versions have no reasons.
    reasons = (own.get("absent", {}) for own in metrics.values())
    if reason := next((found["interval"] for found in reasons if "interval" in found), None):
        yield f"The test split has {reason}: there are no intervals, so no difference can be distinguished from chance."


def _reward_without_outcome(metrics: Mapping[str, Metrics]) -> Iterator[str]:
    if len(metrics) < 2:
        return
    first, last = list(metrics)[-2:]
    reward, outcome = ([measure(metrics[model]) for model in (first, last)] for measure in (_reward, _outcome))
    if _has_risen(*reward) and not _has_risen(*outcome):
        (before, after), (right_before, right_after) = ((a["value"] or 0.0, b["value"] or 0.0) for a, b in (reward, outcome))
        yield (
            f"The reward rose from {first} to {last} ({signed(after - before, '{:.3f}'.format)}), the share of right codes did "
            f"not beyond chance ({percent(right_before)} % to {percent(right_after)} %): see which of its terms rose."
        )


def _reward(own: Metrics) -> Measure:
    return own["reward"]["mean"]


def _outcome(own: Metrics) -> Measure:
    terms = own["reward"]["terms"]
    return next((terms[name] for name in _OUTCOMES if name in terms), own["levels"]["code"]["accuracy"])


def _has_risen(before: Measure, after: Measure) -> bool:
    """Whether a measure has risen by more than chance: by more than the two intervals allow, or at all if there are none."""
    if before["value"] is None or after["value"] is None:
        return False
    ends = [measure["interval"] for measure in (before, after)]
    noise = hypot(*((high - low) / 2 for low, high in (pair or (0.0, 0.0) for pair in ends)))
    return after["value"] - before["value"] > noise


def _lost(left_out: Sequence[LeftOut]) -> Iterator[str]:
    losses: dict[str, list[LeftOut]] = {}
    for one in left_out:
        if not one.by_choice:
            losses.setdefault(one.what, []).append(one)
    for what, found in losses.items():
        count, of = sum(one.count for one in found), max(one.of for one in found)
        if count > MOST_LOST * of:
            main = max(found, key=lambda one: one.count)
            yield f"{percent(count / of)} % of the {what} were lost ({count:,} of {of:,}), most for one reason: {main.reason}."
