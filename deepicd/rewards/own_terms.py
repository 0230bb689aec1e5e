"""The user's own terms: functions named in run.yaml's `reward.terms`."""

from __future__ import annotations

import importlib
import math
import traceback
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
            UserError: a function raised an error, or did not return one number per completion. The message names the error and
                its line, not its text, which may quote a note.
        """
        found: list[dict[str, float]] = [{} for _ in samples]
        for name, function in self._functions.items():
            completions, notes = [sample.completion for sample in samples], [sample.note for sample in samples]
            values = _values(name, function, completions, list(golds), notes)
            if len(values) != len(samples):
                raise UserError(f"reward.terms.{name}: gave {len(values)} values for {len(samples)} completions: give one each")
            for terms, value in zip(found, values, strict=True):
                terms[name] = _number(name, value)
        return found


def _values(name: str, function: Function, completions: list[str], golds: list[str], notes: list[str | None]) -> list[object]:
    try:
        found = function(completions, golds, notes)
        if hasattr(found, "__iter__"):
            return list(found)  # a generator raises its errors here
        failure = f"returned a {type(found).__name__}, not a list: return a list with one number per completion"
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"raised {type(error).__name__} at {frame.filename}:{frame.lineno}: correct the function"
    raise UserError(f"reward.terms.{name}: {failure}")


def _number(name: str, value: object) -> float:
    try:
        # NumPy's numbers are Real; torch's are not, but have item().
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, Real) and not isinstance(value, bool) and not math.isinf(number := float(value)):
            return number
    except (ValueError, TypeError, RuntimeError, OverflowError):  # an array of several, a number over the largest float
        pass
    raise UserError(f"reward.terms.{name}: gave a value that is not a finite number: give a float, or NaN if it is missing")


def _import(field: str, path: str) -> Function:
    module_name, _, function_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field}: no module {error.name}: install it where the run trains, or put its folder on PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{field}: importing {module_name} raised {type(error).__name__}: {said}: correct the module") from None
    function = getattr(module, function_name, None)
    if not callable(function):
        raise UserError(f"{field}: {module_name} has no function {function_name}: name one, as in package.module:function")
    found: Function = function
    return found
