"""Answers of any model, one JSON object per line: `{"id", "subject_id", "gold", "prediction": code or null}`.

Optional: `"fiscal_years": [first, last]`, the years that the admission can be in, and `"local_gold": true` for a gold code that
no release of ICD-10-CM has.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from deepicd import icd10
from deepicd.completion import Fault, as_code, fault_of
from deepicd.errors import UserError
from deepicd.evaluation.predictions import Prediction
from deepicd.json_lines import ROUNDED, check_names, is_rounded, read_object

_FIELDS = ("id", "subject_id", "gold", "prediction", "fiscal_years", "local_gold")
_LONGEST_CODE = 8
"""Length of a code with its dot. Messages quote nothing longer, since it could be note text."""
_LONGEST_ID = 64


def read(
    lines: Iterable[bytes], source: str = "input", *, on_fault: Callable[[UserError], None] | None = None
) -> list[Prediction]:
    """Read answers. Codes are normalised (dots, case, surrounding space). A prediction that is not formatted like a code is
    read as None. Other fields are ignored.

    A code does not show whether the model followed the answer format, so `faults` is None.

    Args:
        lines: in UTF-8; empty lines are skipped.
        source: name of the input in messages.
        on_fault: gets the error of each invalid line, which is then skipped; without it the first error is raised.

    Raises:
        UserError: a line is not such an object, its gold code was never billable in ICD-10-CM, its id occurred before, or no
            valid line is left. The message names line and field.
    """
    predictions: list[Prediction] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{source} line {number}"
        try:
            prediction = _prediction(line, where)
            if prediction.id in seen:
                raise UserError(f"{where}: id: is also that of line {seen[prediction.id]}: give one line per admission")
        except UserError as error:
            if on_fault is None:
                raise
            on_fault(error)
            continue
        seen[prediction.id] = number
        predictions.append(prediction)
    if not predictions:
        raise UserError(f"{source}: has no readable predictions: give one JSON object per line")
    return predictions


def _prediction(line: bytes, where: str) -> Prediction:
    return prediction_of(read_object(line, where, "give one with id, subject_id, gold and prediction"), where)


def prediction_of(record: Mapping[str, Any], where: str) -> Prediction:
    """Check one answer, see `read`; `where` is what error messages call it.

    Raises:
        UserError: a field is missing, misspelled or not valid, or the gold code was never billable.
    """
    check_names(record, _FIELDS, where)
    local = record.get("local_gold", False)
    if not isinstance(local, bool):
        raise UserError(f"{where}: local_gold: is {_shown(local)}, neither true nor false: give one, or leave it out")
    gold = as_code(_text(record, "gold", where))
    fault = Fault.NOT_A_CODE if gold is None else fault_of(gold, local=local)
    if fault is Fault.NOT_BILLABLE:
        raise UserError(f"{where}: gold: {_shown(record['gold'])} is a header in every release: give the code that was billed")
    if gold is None or fault is not None:
        raise UserError(f"{where}: gold: {_shown(record['gold'])} is not an ICD-10-CM code: correct or drop the line")
    answer = None if _field(record, "prediction", where) is None else _text(record, "prediction", where)
    return Prediction(
        id=_id(record, "id", where),
        subject_id=_id(record, "subject_id", where),
        gold=gold,
        prediction=None if answer is None else as_code(answer),
        faults=None,
        fiscal_years=_years(record, where),
        local_gold=local and not icd10.is_valid(gold),
    )


def _years(record: Mapping[str, Any], where: str) -> tuple[int, int] | None:
    value = record.get("fiscal_years")
    if value is None:
        return None
    if not (isinstance(value, list) and len(value) == 2 and all(type(year) is int for year in value)):
        raise UserError(f"{where}: fiscal_years: is not [first, last]: give two years, such as [2017, 2020], or leave it out")
    if value[0] > value[1]:
        raise UserError(f"{where}: fiscal_years: the first year is after the last: swap them")
    return value[0], value[1]


def read_counts(path: Path, local_codes: Collection[str] = ()) -> dict[str, int]:
    """Read the training set's admissions per code from a JSON object of code to whole number.

    Args:
        path: the JSON file.
        local_codes: codes that are allowed although no release of ICD-10-CM has them.

    Raises:
        UserError: the file cannot be read or is not such an object, or a code is not in ICD-10-CM.
    """
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a JSON file of code to count") from None
    except (ValueError, RecursionError):
        raise UserError(f"{path}: is not JSON: give an object of code to count") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: is {_shown(content)}, not an object of code to count")
    return check_counts(content, str(path), local_codes)


def check_counts(content: Mapping[str, Any], where: str, local_codes: Collection[str] = ()) -> dict[str, int]:
    """The counts by normalised code, see `read_counts`; `where` is what error messages call them.

    Raises:
        UserError: a code is not in ICD-10-CM, or a count is not a whole number.
    """
    counts: dict[str, int] = {}
    for key, count in content.items():
        code = as_code(key)
        if code is None or not (icd10.is_valid(code) or code in local_codes):
            raise UserError(f"{where}: {_shown(key)} is not an ICD-10-CM code: correct or drop it")
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise UserError(f"{where}: {code}: {_shown(count)} is not a count: give a whole number of admissions")
        counts[code] = counts.get(code, 0) + count
    return counts


def _field(record: Mapping[str, Any], name: str, where: str) -> Any:
    if name not in record:
        raise UserError(f"{where}: {name}: is missing: every line has id, subject_id, gold and prediction")
    return record[name]


def _text(record: Mapping[str, Any], name: str, where: str) -> str:
    value = _field(record, name, where)
    if not isinstance(value, str):
        raise UserError(f"{where}: {name}: is {_shown(value)}, not a code: write it in quotes")
    return value


def _id(record: Mapping[str, Any], name: str, where: str) -> str:
    value = _field(record, name, where)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UserError(f"{where}: {name}: is {_shown(value)}, not an id: give text or a whole number")
    if is_rounded(value):
        raise UserError(f"{where}: {name}: {ROUNDED}")
    identifier = str(value)
    if not 1 <= len(identifier) <= _LONGEST_ID:
        raise UserError(f"{where}: {name}: has {len(identifier)} characters: an id has 1 to {_LONGEST_ID}")
    return identifier


def _shown(value: object) -> str:
    """The value if it is not longer than a code, else its type."""
    if isinstance(value, str):
        return json.dumps(value) if len(value) <= _LONGEST_CODE else f"a text of {len(value)} characters"
    text = json.dumps(value)
    if len(text) <= _LONGEST_CODE:
        return text
    return "an object" if isinstance(value, dict) else "a list" if isinstance(value, list) else "a number"
