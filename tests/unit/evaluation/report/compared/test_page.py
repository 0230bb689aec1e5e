"""The page of a comparison, as a whole and in a browser."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from deepicd.evaluation.report.compared import Compared, Run, html, write_page
from deepicd.evaluation.report.compared.differences import rows
from deepicd.evaluation.report.compared.settings import differing, flat
from tests.unit.evaluation.report.compared.comparisons import of, run, two_runs
from tests.unit.evaluation.report.reports import Elements, answers, text_of, without_scripts
from tests.unit.evaluation.report.test_in_chromium import BROWSER, opened
from tests.unit.evaluation.report.test_page import content_of


@pytest.fixture(scope="module")
def compared() -> Compared:
    return two_runs()


@pytest.fixture(scope="module")
def page(compared: Compared) -> str:
    return html(compared)


def test_every_element_is_closed_every_link_has_its_section_and_every_chart_its_data(page: str) -> None:
    elements = Elements(page)
    assert elements.open == []
    sections = {attributes["id"] for tag, attributes in elements.found if tag == "section"} - {"summary"}
    links = {(attributes["href"] or "").removeprefix("#") for tag, attributes in elements.found if tag == "a"} - {"top"}
    assert sections == links == {"differences", "levels", "training", "codes", "settings", "definitions"}
    content = content_of(page)
    assert set(re.findall(r'data-chart="([^"]+)"', page)) == set(content["charts"])
    assert len(page) < 2_500_000


def test_each_two_models_have_their_difference_in_both_directions(compared: Compared) -> None:
    found = {(row["model"], row["against"]): row for row in rows(compared) if row["measure"] == "Category macro F1"}
    assert len(found) == 4 * 3
    there, back = found["seed-0/grpo", "seed-0/sft"], found["seed-0/sft", "seed-0/grpo"]
    assert there["value"] == -back["value"] > 0
    assert (there["low"], there["high"]) == (-back["high"], -back["low"])
    assert there["real"] is back["real"] is True
    [pair] = [one for one in compared.comparisons["pairs"] if (one["first"], one["second"]) == ("seed-0/sft", "seed-0/grpo")]
    assert there["value"] == pytest.approx(100 * pair["differences"]["category.macroF1"]["value"])


def test_the_tables_have_all_pairs_without_scripts(page: str, compared: Compared) -> None:
    text = text_of(without_scripts(page))
    assert "minus seed-0/ sft" in text
    [pair] = [one for one in compared.comparisons["pairs"] if (one["first"], one["second"]) == ("seed-0/sft", "seed-0/grpo")]
    assert f"+{100 * pair['differences']['code.macroF1']['value']:.1f}" in text
    assert without_scripts(page).count('<tr><th scope="row" class="name">v1.2[a]/<wbr>grpo</th>') == 1 + 2 * 3


def test_only_settings_and_versions_that_differ_are_shown() -> None:
    runs = [run("a", 0), run("b", 7, versions={"deepicd": "0.2.0", "verl": "0.9.1"})]
    found = [dict(flat(one.report.spec, "spec")) for one in runs if one.report]
    assert differing(dict(zip("ab", found, strict=True))) == {"spec.seed": ["0", "7"]}
    assert differing({"a": {"x": "1"}, "b": {}}) == {"x": ["1", "–"]}
    text = text_of(html(of({"a/m": answers(0.5, 1), "b/m": answers(0.5, 2)}, runs)))
    assert "spec.seed 0 7" in text
    assert "verl – 0.9.1" in text


def test_runs_of_which_only_the_predictions_are_known_still_make_a_page() -> None:
    page = html(of({"a/m": answers(0.5, 1), "b/m": answers(0.6, 2)}, [Run("a", None), Run("b", None)], samples=0))
    assert '<section id="training">' not in page
    assert '<section id="settings">' not in page
    assert '<section id="differences">' in page


def test_rewards_of_different_kinds_are_not_drawn_together() -> None:
    alike = html(two_runs())
    other = html(replace(two_runs(), incomparable={"reward": ["seed-0 and v1 have different rewards"]}))
    assert 'data-chart="grpo-reward"' in alike
    assert 'data-chart="grpo-reward"' not in other
    assert 'data-chart="grpo-responseTokens"' in other
    assert "Rewards are not drawn together, because they are not comparable: seed-0 and v1 have" in text_of(other)


def test_one_model_has_no_differences() -> None:
    assert '<section id="differences">' not in html(of({"m": answers(0.5, 1)}, [run("a", 0)]))


def test_ids_do_not_enter_the_page_and_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    models = {
        name: [replace(one, id=f"CANARY{one.id}", subject_id=f"CANARY{one.subject_id}") for one in answers(right, 1)]
        for name, right in (("a", 0.2), ("b", 0.8))
    }
    write_page(of(models), tmp_path / "new" / "one.html")
    text = (tmp_path / "new" / "one.html").read_text(encoding="utf-8")
    assert "CANARY" not in text
    assert text == html(of(models))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium on this machine")
def test_a_browser_draws_every_chart_and_table_and_the_console_stays_empty(page: str, tmp_path: Path) -> None:
    drawn, console = opened(page, tmp_path, "--window-size=390,800")
    assert console == []
    assert 'data-drawn="yes"' in drawn
    places = re.findall(r'data-chart="([^"]+)"[^>]*>(.{,400})', drawn, re.DOTALL)
    assert [name for name, inside in places if "<svg" not in inside] == []
    assert len(places) == len(re.findall(r'data-chart="', page))
    assert drawn.count("<select") >= 2
