"""On the PYTHONPATH of a run, makes the reward code raise, with note text in the exception."""

from collections.abc import Sequence
from typing import NoReturn

import deepicd.rewards
from deepicd.rewards import Sample


def _raise(samples: Sequence[Sample]) -> NoReturn:
    raise KeyError(samples[0].note)


deepicd.rewards.make_scorer = lambda *_, **__: _raise
