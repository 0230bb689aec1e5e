"""The site is built as it is published: without a network, every link checked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deepicd_operator.crd import crd
from deepicd_operator.reasons import Reason

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [Path(sys.executable).with_name("mkdocs"), "build", "--strict", "--site-dir", folder],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


def fields(schema: dict[str, Any]) -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        yield name
        yield from fields(field)
        yield from fields(field.get("items", {}))


def test_every_field_of_the_spec_is_in_the_reference(site: Path) -> None:
    text = (site / "reference" / "run-yaml.html").read_text()
    shown = set(re.findall(r"<code>(\w+)</code>", text))
    assert set(fields(crd()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"])) <= shown


def test_every_link_inside_the_reference_has_its_target(site: Path) -> None:
    text = (site / "reference" / "run-yaml.html").read_text()
    wanted = set(re.findall(r'href="#([\w-]+)"><code>', text))
    assert {"compute", "storages3"} <= wanted
    assert wanted <= set(re.findall(r'id="([\w-]+)"', text))


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_page_that_says_what_the_operator_does(site: Path, reason: Reason) -> None:
    text = (site / "reasons" / f"{reason}.html").read_text()
    assert "What the operator does:" in text
    assert reason.explanation.remedy.split("`")[0].replace("'", "&#39;")[:20] in text.replace("'", "&#39;")


def test_notes_belong_to_a_reason(site: Path) -> None:
    assert {path.stem for path in (ROOT / "docs" / "reasons").glob("*.md")} <= {str(reason) for reason in Reason}


def test_pages_load_nothing_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(Reason)
    for page in pages:
        text = page.read_text()
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), page
        assert not re.search(r'<link[^>]+rel="(?:stylesheet|preconnect|icon)"[^>]+href="(?:https?:)?//', text), page
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:https?:)?//", style.read_text()), style


def test_every_page_says_research_use_only(site: Path) -> None:
    for page in site.rglob("*.html"):
        assert "Research use only" in page.read_text(), page
