"""On the PYTHONPATH of a run, makes the reward code raise, with note text in the exception."""

from collections.abc import Sequence
from types import ModuleType
from typing import NoReturn

from deepicd.rewards import Sample
from deepicd.training.imports import after_import


def _raise(samples: Sequence[Sample]) -> NoReturn:
    raise KeyError(samples[0].note)


def _break(module: ModuleType) -> None:
    module.make_scorer = lambda *_, **__: _raise  # type: ignore[attr-defined]


after_import("deepicd.training.reward_manager", _break)
