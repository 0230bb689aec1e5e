"""The weighted sum of the terms."""

from __future__ import annotations

import math
from collections.abc import Mapping

from deepicd.rewards.sample import Score


def combine(terms: Mapping[str, float], weights: Mapping[str, float]) -> Score:
    """Returns the weighted sum: reward = Σ weight · term. A missing term (NaN) adds nothing.

    Raises:
        KeyError: a weight names no term.
    """
    weighed = [weight * terms[name] for name, weight in weights.items()]
    value = math.fsum(weighed)
    if math.isnan(value):
        value = math.fsum(term for term in weighed if not math.isnan(term))
    return Score(value, dict(terms))
