"""The page in a real browser, without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.report import Report, html
from tests.unit.evaluation.report.reports import fully_evaluated

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_NETWORK = ("--proxy-server=127.0.0.1:9", "--proxy-bypass-list=<-loopback>", "--disable-component-update", "--no-first-run")


def opened(page: str, folder: Path, *options: str) -> tuple[str, list[str]]:
    """The page's elements once its scripts have run, and what they wrote to the console."""
    path = folder / "report.html"
    path.write_text(page, encoding="utf-8")
    command = [
        str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", *NO_NETWORK,
        "--enable-logging=stderr", "--virtual-time-budget=20000", *options, "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=180)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
@pytest.mark.parametrize(
    "options", [("--window-size=390,800", "--blink-settings=preferredColorScheme=0"), ("--window-size=1280,1000",)]
)
def test_every_chart_and_table_is_drawn_and_the_console_stays_empty(
    page: str, tmp_path: Path, options: tuple[str, ...]
) -> None:
    drawn, console = opened(page, tmp_path, *options)
    assert console == []
    assert 'data-drawn="yes"' in drawn
    places = re.findall(r'data-chart="([^"]+)"[^>]*>(.{,400})', drawn, re.DOTALL)
    assert len(places) == len(re.findall(r'data-chart="', page))
    assert [name for name, inside in places if "<svg" not in inside] == []
    table = drawn[drawn.index('data-table="codes"') :]
    assert table[: table.index("</table>")].count("<tr") == 1 + 7


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_so_is_everything_that_an_evaluation_can_be_asked_for(tmp_path: Path) -> None:
    page = html(fully_evaluated())
    drawn, console = opened(page, tmp_path)
    assert console == []
    for name in ("reliability", "risk", "fairness", "pass-code", "difficulty"):
        assert "<svg" in drawn[drawn.index(f'data-chart="{name}"') :][:400]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_numbers_without_intervals_are_drawn_too(report: Report, tmp_path: Path) -> None:
    plain = {
        name: compute(records, train_counts={"I10": 5}, bootstrap_samples=0) for name, records in report.predictions.items()
    }
    _, console = opened(html(replace(report, metrics=plain, curves=report.curves[:1])), tmp_path)
    assert console == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_script_that_the_policy_does_not_name_is_refused(page: str, tmp_path: Path) -> None:
    before, end, after = page.rpartition("</body>")
    injected = f"{before}<script>document.title = 'changed'</script>{end}{after}"
    drawn, console = opened(injected, tmp_path)
    assert 'data-drawn="yes"' in drawn
    assert "<title>changed" not in drawn
    assert ["Content Security Policy" in line for line in console] == [True]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_no_name_becomes_an_element(tmp_path: Path) -> None:
    name = "<img src=x onerror=document.title='changed'>"
    report = fully_evaluated()
    models = {"base": name, "sft": "sft", "grpo": "grpo"}
    metrics: Any = {models[model]: own for model, own in report.metrics.items()}
    for own in metrics.values():
        own["fairness"]["sex"]["groups"][1]["group"] = name
    predictions = {models[model]: records for model, records in report.predictions.items()}
    rows = [{**row, name: 1.0, "terms": {**row["terms"], name: 0.5}} for row in report.curves]
    page = html(replace(report, run=name, metrics=metrics, predictions=predictions, curves=rows, versions={name: name}))
    drawn, console = opened(page, tmp_path)
    assert console == []
    assert "<img" not in re.sub(r"<script.*?</script>", "", drawn, flags=re.DOTALL)
