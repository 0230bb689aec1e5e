"""`deepicd.score`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from deepicd.errors import UserError
from deepicd.rewards.presets import check_gold, make_scorer
from deepicd.rewards.sample import Sample, Score
from deepicd.spec.reward import PresetName, RewardSpec
from deepicd.spec.wording import expected

if TYPE_CHECKING:
    from deepicd.rewards.cohort_words import CohortWords


def score(
    samples: Iterable[Sample],
    *,
    preset: PresetName = "deepicd",
    weights: Mapping[str, float] | None = None,
    opened_think: bool = True,
) -> list[Score]:
    """Score completions, as `deepicd reward` does. `Run.score` scores them as a run does.

    Args:
        samples: completions with their right codes and, for the term `reasoning`, their notes.
        preset: `deepicd`, `deepicd-r1` or `strict`.
        weights: weights of terms, with the preset `deepicd`; the preset's own for terms that are not named.
        opened_think: whether the prompt ended in an opened `<think>`; see `parse`.

    Returns:
        A total and its terms for each sample, in the same order.

    Raises:
        UserError: a sample has no right code that was ever billable, or a field of another type, such as pandas' NaN; there is
            no such preset; `weights` names a term that does not exist, or gives weights to a preset whose weights are fixed.

    Example:
        >>> import deepicd
        >>> note = "Chief Complaint: shooting leg pain. Weak toe extension on the left."
        >>> trace = "Weak toe extension and shooting leg pain fit a lumbar disc that presses on a root."
        >>> right = deepicd.Sample(f"{trace}</think> <diagnosis>M5116</diagnosis>", gold="M51.16", note=note)
        >>> wrong = deepicd.Sample(f"{trace}</think> <diagnosis>M5117</diagnosis>", gold="M51.16", note=note)
        >>> scores = deepicd.score([right, wrong])
        >>> scores[0].value, scores[1].terms["hierarchy"]
        (1.0, 0.75)
        >>> deepicd.score([wrong], preset="strict")[0].value
        0.0
    """
    try:
        reward = RewardSpec(preset=preset, weights=dict(weights or {}))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise UserError(f"{'.'.join(map(str, first['loc'])) or 'weights'}: {expected(first)}") from None
    return score_as(samples, reward, opened_think=opened_think)


def score_as(
    samples: Iterable[Sample], reward: RewardSpec, *, opened_think: bool, cohort: CohortWords | None = None
) -> list[Score]:
    """Score by a run's reward; see `make_scorer`. An error names the sample by its position, counted from 0.

    Raises:
        UserError: a sample is not valid, or one of the run's own terms cannot be imported or returns no numbers.
    """
    checked = list(samples)
    for place, sample in enumerate(checked):
        _check(f"samples[{place}]", sample)
    return make_scorer(reward, opened_think=opened_think, cohort=cohort)(checked)


def _check(where: str, sample: Sample) -> None:
    if not isinstance(sample, Sample):
        raise UserError(f"{where}: is a {type(sample).__name__}: give a deepicd.Sample")
    for name, value in (("completion", sample.completion), ("gold", sample.gold)):
        if not isinstance(value, str):
            raise UserError(f"{where}: {name}: is a {type(value).__name__}: give a str")
    if not (sample.note is None or isinstance(sample.note, str)):
        raise UserError(f"{where}: note: is a {type(sample.note).__name__}: give a str, or None")
    try:
        check_gold(sample.gold, local=sample.local_gold)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
