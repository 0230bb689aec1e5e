"""The page as a whole: what it may load and run, what it must not contain."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from deepicd.evaluation.metrics import compute
from deepicd.evaluation.report import Report, assets, html, write_report
from tests.unit.evaluation.report.reports import Elements, row_of, without_scripts


def content_of(page: str) -> dict[str, Any]:
    """The data of charts and tables."""
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.DOTALL)
    assert found
    content: dict[str, Any] = json.loads(found[1])
    return content


def policy_of(page: str) -> str:
    """The content security policy."""
    return next(str(attributes["content"]) for _, attributes in Elements(page).found if "http-equiv" in attributes)


def test_every_element_is_closed_and_every_id_is_unique(page: str) -> None:
    elements = Elements(page)
    assert elements.open == []
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_link_of_the_navigation_has_its_section_and_every_section_its_link(page: str) -> None:
    elements = Elements(page).found
    sections = {attributes["id"] for tag, attributes in elements if tag == "section"} - {"summary"}
    links = {(attributes["href"] or "").removeprefix("#") for tag, attributes in elements if tag == "a"} - {"top"}
    assert sections == links
    assert len(sections) >= 12


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page: str) -> None:
    elements = Elements(page).found
    assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & {tag for tag, _ in elements}
    for tag, attributes in elements:
        for name in ("href", "src", "xlink:href", "style"):
            assert (attributes.get(name) or "#").startswith(("#", "width:")), tag
    assert "@import" not in assets.style()
    assert "url(" not in assets.style()
    policy = policy_of(page)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "'unsafe-inline'" not in policy.partition("style-src")[0]
    assert "http" not in policy


def test_the_policy_names_exactly_the_scripts_of_the_page(page: str) -> None:
    scripts = re.findall(r"^<script>(.*?)</script>$", page, re.DOTALL | re.MULTILINE)
    assert len(scripts) == 2
    policy = policy_of(page)
    assert all(assets.allowed(script) in policy for script in scripts)
    assert policy.count("sha256-") == 2


def test_every_chart_and_table_of_the_page_has_its_data_and_a_description_with_numbers(page: str) -> None:
    content = content_of(page)
    assert set(re.findall(r'data-chart="([^"]+)"', page)) == set(content["charts"])
    assert set(re.findall(r'data-table="([^"]+)"', page)) == set(content["tables"])
    for spec in content["charts"].values():
        assert re.search(r"\d", spec["description"])


def test_every_heading_cell_has_its_scope(page: str) -> None:
    assert all("scope" in attributes for tag, attributes in Elements(page).found if tag == "th")


def test_the_page_is_under_three_megabytes(page: str) -> None:
    assert len(page.encode()) < 3_000_000


def test_names_and_settings_are_escaped(page: str) -> None:
    assert "quick&lt;start&gt;" in page
    assert "quick<start>" not in page
    assert "kind: DeepICDRun" in page


def test_a_script_that_ends_its_element_is_escaped() -> None:
    assert assets._inline("a = '</script>'; b = '<!--'") == "a = '<\\/script>'; b = '<\\!--'"


def test_the_same_report_gives_the_same_bytes(report: Report, page: str, tmp_path: Path) -> None:
    write_report(report, tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == page
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_ids_and_answers_that_are_no_codes_do_not_enter_the_page(report: Report) -> None:
    records = [
        replace(
            record,
            id=f"CANARY{record.id}",
            subject_id=f"CANARY{record.subject_id}",
            prediction=record.prediction or "CANARY",
        )
        for record in report.predictions["base"]
    ]
    metrics = compute(records, bootstrap_samples=0)
    assert "CANARY" not in html(replace(report, metrics={"base": metrics}, predictions={"base": records}))


def test_one_model_without_curves_counts_or_faults_still_makes_a_page(report: Report) -> None:
    records = [replace(record, faults=None, reward=None, terms={}) for record in report.predictions["base"]]
    lone = html(
        replace(
            report,
            metrics={"other": compute(records, bootstrap_samples=0)},
            predictions={"other": records},
            curves=[],
            stage_seconds={},
            settings="kind: DeepICDRun",
            prompts=None,
            left_out=None,
            finished=None,
            hardware=None,
        )
    )
    assert "this run trained nothing" in lone
    for absent in ("reward", "frequency", "faults"):
        assert f'<section id="{absent}">' not in lone
    assert "nan" not in re.sub(r"<[^>]*>", "", without_scripts(lone)).lower().split()


def test_a_model_without_any_valid_answer_still_makes_a_page(report: Report) -> None:
    records = [replace(record, prediction=None, faults=("no_diagnosis",)) for record in report.predictions["base"]]
    metrics = compute(records, train_counts={"I10": 1}, bootstrap_samples=20)
    assert "0.0" in row_of(html(replace(report, metrics={"base": metrics}, predictions={"base": records})), "summary", "base")


def test_a_report_without_a_model_is_refused(report: Report) -> None:
    with pytest.raises(ValueError, match="at least one model"):
        html(replace(report, metrics={}))
