"""What is read from a run's folder."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from deepicd.errors import UserError
from deepicd.evaluation import classes, predictions
from deepicd.evaluation.report import Report, load


def save(report: Report, run_folder: Path) -> Path:
    folder = run_folder / "evaluate"
    folder.mkdir(parents=True)
    predictions.write(folder / "predictions.parquet", report.predictions)
    (folder / "metrics.json").write_text(json.dumps(report.metrics))
    (folder / "curves.jsonl").write_text("".join(json.dumps(row) + "\n" for row in report.curves))
    about = {
        "run": report.run,
        "settings": report.settings,
        "versions": report.versions,
        "stageSeconds": report.stage_seconds,
        "klName": report.kl_name,
        "prompts": report.prompts,
        "leftOut": report.left_out,
        "tracesUntagged": report.traces_untagged,
        "finished": report.finished,
        "hardware": report.hardware,
    }
    (folder / "about.json").write_text(json.dumps(about))
    return folder


def test_a_run_folder_is_read_back_whole(report: Report, tmp_path: Path) -> None:
    save(report, tmp_path)
    assert load(tmp_path) == report


def test_the_results_by_class_are_read_and_must_be_of_the_same_models(report: Report, tmp_path: Path) -> None:
    path = save(report, tmp_path) / "by_class.parquet"
    rows = classes.rows(report.predictions, {"I10": 7})
    classes.write(path, rows)
    assert load(tmp_path).classes == rows
    classes.write(path, [row for row in rows if row["model"] != "sft"])
    with pytest.raises(UserError, match=r"metrics\.json and by_class\.parquet have different models"):
        load(tmp_path)
    path.write_text("no table")
    with pytest.raises(UserError, match=r"by_class\.parquet: is not a readable table of classes"):
        load(tmp_path)


def test_a_run_of_an_earlier_version_has_neither_date_nor_hardware(report: Report, tmp_path: Path) -> None:
    path = save(report, tmp_path) / "about.json"
    path.write_text(
        json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key not in ("finished", "hardware")})
    )
    found = load(tmp_path)
    assert (found.finished, found.hardware) == (None, None)


@pytest.mark.parametrize("name", ["metrics.json", "about.json", "curves.jsonl", "predictions.parquet"])
def test_a_missing_file_is_named(report: Report, tmp_path: Path, name: str) -> None:
    (save(report, tmp_path) / name).unlink()
    with pytest.raises(UserError, match=f"{re.escape(name)}: does not exist: evaluate the run first"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("metrics.json", lambda text: text[:-9], "is not JSON"),
        ("metrics.json", lambda text: text.replace("metrics/v1", "metrics/v0"), "base: is not deepicd.io/metrics/v1"),
        ("metrics.json", lambda text: text.replace('"base"', '"vase"', 1), "have different models"),
        ("about.json", lambda text: text.replace("klName", "kl"), "klName: is missing"),
        ("about.json", lambda text: "[]", "is not a JSON object"),
        ("curves.jsonl", lambda text: text + '{"step": 1}\n', "line 76: stage or step is missing"),
    ],
)
def test_a_broken_file_is_named(report: Report, tmp_path: Path, name: str, change: Callable[[str], str], message: str) -> None:
    path = save(report, tmp_path) / name
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=message):
        load(tmp_path)
