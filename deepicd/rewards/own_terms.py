"""The user's own terms: functions named in run.yaml's `reward.terms`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

from deepicd.errors import UserError
from deepicd.rewards.sample import Sample
from deepicd.spec.reward import OwnTerm

Function = Callable[[list[str], list[str], list[str | None]], Sequence[float]]
"""Takes the completions, right codes and notes of a batch; returns one number per completion, NaN where the term is missing."""


class OwnTerms:
    """The functions of a run, by term."""

    def __init__(self, terms: Mapping[str, OwnTerm]) -> None:
        """Import the functions.

        Raises:
            UserError: one cannot be imported; the message names its field.
        """
        self._functions = {name: _import(f"reward.terms.{name}.path", term.path) for name, term in terms.items()}

    def __call__(self, samples: Sequence[Sample], golds: Sequence[str]) -> list[dict[str, float]]:
        """The terms of each sample, NaN where one is missing.

        Args:
            samples: a batch.
            golds: their right codes, normalised.

        Raises:
            UserError: a function did not return one number per completion. An exception of the function itself is passed on.
        """
        found: list[dict[str, float]] = [{} for _ in samples]
        for name, function in self._functions.items():
            completions, notes = [sample.completion for sample in samples], [sample.note for sample in samples]
            values = list(function(completions, list(golds), notes))
            if len(values) != len(samples):
                raise UserError(f"reward.terms.{name}: gave {len(values)} values for {len(samples)} completions: give one each")
            for terms, value in zip(found, values, strict=True):
                terms[name] = _number(name, value)
        return found


def _number(name: str, value: object) -> float:
    # NumPy's numbers are Real; torch's are not, but have item().
    value = value.item() if hasattr(value, "item") else value
    if not isinstance(value, Real) or isinstance(value, bool) or math.isinf(value):
        raise UserError(f"reward.terms.{name}: gave a value that is not a finite number: give a float, or NaN if it is missing")
    return float(value)


def _import(field: str, path: str) -> Function:
    module_name, _, function_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field}: no module {error.name}: install it where the run trains, or put its folder on PYTHONPATH"
        ) from None
    except Exception as error:
        raise UserError(
            f"{field}: importing {module_name} raised {type(error).__name__}: {error}: correct the module"
        ) from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"{field}: {module_name} has no function {function_name}: name one, as in package.module:function")
    found: Function = function
    return found
