"""Groups of patients by sex, age, race, insurance and language, from the columns of a cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import isnan
from pathlib import Path
from typing import Any

UNKNOWN = "unknown"
"""Group of the admissions whose value is missing."""
_AGES = ((17, "0-17"), (44, "18-44"), (64, "45-64"), (79, "65-79"))
_OLDEST = "80 and over"
_HIGHEST_AGE = 125
_RACES = {
    "WHITE": "White", "PORTUGUESE": "White", "BLACK": "Black", "HISPANIC": "Hispanic or Latino",
    "SOUTH AMERICAN": "Hispanic or Latino", "ASIAN": "Asian", "AMERICAN INDIAN": "American Indian or Alaska Native",
    "NATIVE HAWAIIAN": "Native Hawaiian or Pacific Islander", "MULTIPLE": "Several", "OTHER": "Other",
}  # fmt: skip
"""Groups of MIMIC-IV's values, by how they begin."""
_NO_VALUE = ("", "UNKNOWN", "UNABLE TO OBTAIN", "PATIENT DECLINED TO ANSWER", "NONE", "?", "NO VALUE")
_SEXES = {"F": "female", "FEMALE": "female", "M": "male", "MALE": "male"}


def age_band(age: Any) -> str:
    """The band of an age in years; unknown if it cannot be a person's age."""
    if not isinstance(age, int | float) or not 0 <= age <= _HIGHEST_AGE:  # NaN is not within any limits
        return UNKNOWN
    return next((name for last, name in _AGES if age <= last), _OLDEST)


def race_group(race: Any) -> str:
    """The group of a value as MIMIC-IV writes it (`ASIAN - CHINESE`); another one is its own group."""
    text = _text(race)
    return next((group for start, group in _RACES.items() if text.upper().startswith(start)), text)


def _text(value: Any) -> str:
    missing = value is None or (isinstance(value, float) and isnan(value))
    written = "" if missing else str(value).strip()
    return UNKNOWN if written.upper() in _NO_VALUE else written


def _label(value: Any) -> str:
    text = _text(value)
    return text.capitalize() if text != UNKNOWN else text


def _sex(value: Any) -> str:
    text = _text(value)
    return _SEXES.get(text.upper(), text)


GROUPS = frozenset(
    {UNKNOWN, *_SEXES.values(), *(name for _, name in _AGES), _OLDEST, *_RACES.values()}
    | {"Medicare", "Medicaid", "Private", "No charge"}
)
"""Groups whose names say nothing about a single patient. Any other is a value of the cohort, perhaps of one patient."""

ATTRIBUTES: Mapping[str, Callable[[Any], str]] = {
    "sex": _sex,
    "age": age_band,
    "race": race_group,
    "insurance": _label,
    "language": _label,
}
"""The group of a value, by column of the cohort."""


def read(split: Path) -> dict[str, dict[str, str]]:
    """The groups of each admission of a split: attribute to group, by id. A column that is missing is unknown for all."""
    import pyarrow.parquet as pq

    from deepicd.data.rows import key

    names = pq.read_schema(split).names
    present = [name for name in ATTRIBUTES if name in names]
    return {
        str(row[key(names)]): {name: group(row.get(name)) for name, group in ATTRIBUTES.items()}
        for row in pq.read_table(split, columns=[key(names), *present]).to_pylist()
    }
