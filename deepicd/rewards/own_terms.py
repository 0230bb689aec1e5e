"""The user's own terms: functions named in run.yaml's `reward.terms`."""

from __future__ import annotations

import importlib
import importlib.machinery
import math
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence, Set
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from hashlib import sha256
from io import TextIOBase
from itertools import islice
from numbers import Real
from pathlib import Path
from types import ModuleType

from deepicd.errors import UserError
from deepicd.rewards.sample import Sample
from deepicd.spec.reward import OwnTerm

Function = Callable[[Sequence[Sample]], Sequence[float]]
"""Takes a batch; returns one number per completion, NaN where the term is missing."""

_TRIAL = (
    Sample(
        "Weak toe extension fits L5.</think>\n<diagnosis>M5116</diagnosis>", "M5116", "Shooting leg pain, weak toe extension."
    ),
    Sample("", "I10", "Headache.", truncated=True),
)


class OwnTerms:
    """The functions of a run, by term."""

    def __init__(self, terms: Mapping[str, OwnTerm]) -> None:
        """Import the functions.

        Raises:
            UserError: one cannot be imported; the message names its field.
        """
        self._functions = {name: _function(f"reward.terms.{name}", term) for name, term in terms.items()}
        self._within_1 = {name for name, term in terms.items() if term.file is not None}

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
        given = [replace(sample, gold=gold) for sample, gold in zip(samples, golds, strict=True)]
        for name, function in self._functions.items():
            values = _values(name, function, given)
            if len(values) != len(samples):
                count = f"more than {len(samples)}" if len(values) > len(samples) else len(values)
                raise UserError(f"reward.terms.{name}: gave {count} values for {len(samples)} completions: give one each")
            for terms, value in zip(found, values, strict=True):
                terms[name] = number = _number(name, value)
                if name in self._within_1 and (number < 0 or number > 1):  # NaN is neither
                    raise UserError(f"reward.terms.{name}: gave {number:g}: give numbers from 0 to 1, or NaN if one is missing")
        return found

    def try_out(self) -> None:
        """Call the functions with two completions, a good one and an empty one. Raises: UserError: as `__call__`."""
        self(_TRIAL, [sample.gold for sample in _TRIAL])


def digests(terms: Mapping[str, OwnTerm]) -> dict[str, str]:
    """SHA-256 of the file of each term that has one.

    Raises:
        UserError: a file cannot be read.
    """
    return {name: _digest(f"reward.terms.{name}.file", Path(term.file)) for name, term in terms.items() if term.file}


def _digest(field: str, path: Path) -> str:
    try:
        return sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{field}: {path}: {error.strerror}: give the Python file of the function") from None


def _values(name: str, function: Function, samples: Sequence[Sample]) -> list[object]:
    """What a function returns for the samples, at most one value more than there are samples."""
    try:
        # What it prints may quote a note. It gets a list of its own, which it may change.
        with _Silence() as nothing, redirect_stdout(nothing), redirect_stderr(nothing):
            found = function(list(samples))
            if _is_sequence(found):
                return list(islice(found, len(samples) + 1))  # a generator raises its errors here
        failure = f"returned a {type(found).__name__}, not a list: return a list with one number per completion"
    except (Exception, SystemExit) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        failure = f"raised {type(error).__name__} at {frame.filename}:{frame.lineno}: correct the function"
    raise UserError(f"reward.terms.{name}: {failure}")


class _Silence(TextIOBase):
    """Takes text and keeps nothing of it."""

    def write(self, text: str) -> int:
        """Returns the length of the text, as files do."""
        return len(text)


def _is_sequence(found: object) -> bool:
    """Whether a value can be one number per sample: an array of one number has the method, and no dimension."""
    return hasattr(found, "__iter__") and not isinstance(found, str | bytes | Mapping | Set) and getattr(found, "ndim", 1) > 0


def _number(name: str, value: object) -> float:
    try:
        # NumPy's numbers are Real; torch's are not, but have item().
        value = value.item() if hasattr(value, "item") else value
        if isinstance(value, Real) and not isinstance(value, bool) and not math.isinf(number := float(value)):
            return number
    except (ValueError, TypeError, RuntimeError, OverflowError):  # an array of several, a number over the largest float
        pass
    raise UserError(f"reward.terms.{name}: gave a value that is not a finite number: give a float, or NaN if it is missing")


def _function(field: str, term: OwnTerm) -> Function:
    if term.file is not None:
        path, function = Path(term.file), str(term.function)
        name = f"deepicd_own_terms_{_digest(f'{field}.file', path)}"
        found: Function = _named(f"{field}.function", _import(f"{field}.file", name, path), function, str(path))
        return found
    module_name, _, function_name = str(term.path).partition(":")
    of_lists = _named(f"{field}.path", _import(f"{field}.path", module_name), function_name, module_name)
    return lambda samples: of_lists(
        [sample.completion for sample in samples], [sample.gold for sample in samples], [sample.note for sample in samples]
    )


def _named(field: str, module: ModuleType, name: str, title: str) -> Callable[..., Sequence[float]]:
    function = getattr(module, name, None)
    if not callable(function):
        raise UserError(f"{field}: {title} has no function {name}: name one that it has")
    found: Callable[..., Sequence[float]] = function
    return found


def _import(field: str, name: str, file: Path | None = None) -> ModuleType:
    """A module by its name, or by its file under that name: a file is imported once, and once more after it has changed."""
    try:
        return importlib.import_module(name) if file is None else _of_file(name, file)
    except ModuleNotFoundError as error:
        raise UserError(
            f"{field}: no module {error.name}: install it where the run trains, or put its folder on PYTHONPATH"
        ) from None
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise UserError(f"{field}: importing {file or name} raised {type(error).__name__}: {said}: correct it") from None


def _of_file(name: str, file: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(file)
    sys.modules[name] = module  # dataclasses look for theirs there
    try:
        importlib.machinery.SourceFileLoader(name, str(file)).exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
