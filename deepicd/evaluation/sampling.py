"""What several completions of one admission say together: pass@k, the majority, and agreement as confidence.

They come from the same sampled completions as the reward's mean, so they cost no generation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from math import comb

from deepicd.evaluation.levels import Level, class_of
from deepicd.evaluation.predictions import Prediction, valid_codes


def pass_at(right: int, drawn: int, k: int) -> float:
    """Unbiased estimate of the probability that at least one of `k` completions is right (Chen et al., 2021, § 2.1).

    That is 1 - C(drawn - right, k) / C(drawn, k): the share of the subsets of size k that hold a right one.

    Raises:
        ValueError: `k` is not in 1 … `drawn`, or `right` not in 0 … `drawn`.
    """
    if not (1 <= k <= drawn and 0 <= right <= drawn):
        raise ValueError(f"pass@{k} of {right} right among {drawn}")
    return 1 - comb(drawn - right, k) / comb(drawn, k)


def sizes(drawn: int) -> list[int]:
    """The k for which pass@k is reported: the powers of two up to the number of samples, and that number."""
    return sorted({*(2**power for power in range(drawn.bit_length()) if 2**power <= drawn), drawn}) if drawn else []


def majority(record: Prediction, local: Collection[str]) -> str | None:
    """The most frequent valid code of the samples; None if no sample has one.

    Of codes that are equally frequent, the greedy answer wins, then the one that was drawn first.
    """
    codes = [code for code in valid_codes(record.samples or (), local) if code is not None]
    counts = Counter(codes)
    if not counts:
        return None
    most = max(counts.values())
    tied = [code for code in counts if counts[code] == most]
    return record.prediction if record.prediction in tied else tied[0]


def agreement(answer: str | None, samples: Sequence[str | None], level: Level) -> float | None:
    """Share of the samples whose class is that of the answer; None without an answer or without samples.

    `answer` and `samples` are valid codes, or None. A sample without a valid code agrees with nothing.
    """
    if answer is None or not samples:
        return None
    wanted = class_of(answer, level)
    return sum(code is not None and class_of(code, level) == wanted for code in samples) / len(samples)


def smallest_number(predictions: Sequence[Prediction]) -> int:
    """The number of samples that every admission has; 0 if one has none."""
    return min(len(record.samples or ()) for record in predictions)
