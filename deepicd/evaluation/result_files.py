"""Reads the JSON files of a run's `evaluate` folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from deepicd.errors import UserError
from deepicd.evaluation.metrics_schema import SCHEMA, Metrics


def read_metrics(path: Path) -> dict[str, Metrics]:
    """Read metrics.json: the metrics of each model, in the order of training.

    Raises:
        UserError: the file is missing, or is not of this schema.
    """
    metrics = read_object(path, ())
    for model, own in metrics.items():
        if not isinstance(own, dict) or own.get("schema") != SCHEMA:
            raise UserError(f"{path}: {model}: is not {SCHEMA}: evaluate the run again")
    return metrics


def read_object(path: Path, fields: Sequence[str]) -> dict[str, Any]:
    """Read a JSON object with these fields.

    Raises:
        UserError: the file is missing, is not such an object, or lacks a field.
    """
    content = _json(path, _text(path))
    if not isinstance(content, dict):
        raise UserError(f"{path}: is not a JSON object: evaluate the run again")
    for field in fields:
        if field not in content:
            raise UserError(f"{path}: {field}: is missing: evaluate the run again")
    return content


def read_settings(about: Path) -> Any:
    """The content of run.yaml as about.json has it: as YAML, or as the object itself.

    Raises:
        UserError: see `read_object`.
    """
    recorded = read_object(about, ("settings",))["settings"]
    return yaml.safe_load(recorded) if isinstance(recorded, str) else recorded


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read curves.jsonl.

    Raises:
        UserError: the file is missing, or a line has no stage or step.
    """
    rows = [_json(path, line) for line in _text(path).splitlines()]
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, dict) or not isinstance(row.get("step"), int) or "stage" not in row:
            raise UserError(f"{path} line {number}: stage or step is missing: evaluate the run again")
    return rows


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{path}: does not exist: evaluate the run first") from None
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: cannot be read as text: evaluate the run again") from None


def _json(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise UserError(f"{path}: is not JSON: evaluate the run again") from None
