from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from mkdocs.exceptions import Abort

import deepicd
from deepicd.spec.load import json_schema
from deepicd_operator.conditions import ConditionType
from deepicd_operator.reasons import Reason, Rule
from docs.generate import pages
from docs.pages.commands import commands_page
from docs.pages.fields import may_change, spec_page
from docs.pages.markdown import cell
from docs.pages.python import markdown, python_page
from docs.pages.reasons import CONDITIONS, notes, places

ROOT = Path(__file__).parents[3]
LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href", "object": "data", "embed": "src"}
FROM_ELSEWHERE = re.compile(r"^(?:[a-z]+:)?//", re.IGNORECASE)
IN_STYLES = re.compile(r"""(?:url\(|@import)\s*["']?([^"')\s]+)""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it: a broken link would be an error here."""
    folder = tmp_path_factory.mktemp("site")
    build(load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder)))
    return folder


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    """The generated pages."""
    return pages()


class Resources(HTMLParser):
    """Addresses that a page loads, and the content security policies in it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.policies: list[str] = []
        self.text = page.read_text(encoding="utf-8")
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy":
            self.policies.append(given["content"])
        self.loaded += [given[LOADED[tag]]] if LOADED.get(tag, "") in given else []
        self.loaded += IN_STYLES.findall(given.get("style", ""))

    def handle_data(self, data: str) -> None:
        if self.lasttag == "style":
            self.loaded += IN_STYLES.findall(data)


def fields(schema: dict[str, Any], models: dict[str, Any], path: str = "") -> Iterator[str]:
    """Path of every field in a JSON Schema."""
    for name, field in schema.get("properties", {}).items():
        yield f"{path}{name}"
        below = f"{path}{name}{'[]' if 'items' in field else ''}."
        for model in re.findall(r"'#/[$]defs/([A-Za-z0-9]+)'", str(field)):
            yield from fields(models[model], models, below)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_a_page_with_its_meaning_its_remedy_and_its_place(generated: dict[str, str], reason: Reason) -> None:
    page = generated[f"reference/reasons/{reason}.md"]
    assert places(reason)
    for text in (reason.explanation.meaning, reason.explanation.remedy, *places(reason)):
        assert text[1:] in page


def test_a_reason_that_ends_the_run_is_seen_in_the_condition_failed() -> None:
    assert set(CONDITIONS) == set(ConditionType)
    assert {reason for reason in Reason if "condition `Failed`" in places(reason)} == {
        reason for reason in Reason if reason.rule is Rule.STOP
    }


def test_what_was_written_about_a_reason_is_on_its_page(generated: dict[str, str]) -> None:
    written = notes()
    assert {"OutOfMemory", "Stalled", "BadInput"} <= set(written)
    for name, note in written.items():
        assert note in generated[f"reference/reasons/{name}.md"]


def test_every_field_of_run_yaml_has_an_anchor_and_its_description() -> None:
    schema, page = json_schema(), spec_page()
    expected = list(fields(schema, schema["$defs"]))
    assert len(expected) > 150
    assert sorted(re.findall(r"`[{] #([^ ]+) [}] [|]", page)) == sorted(expected)


def test_lists_and_mappings_of_sections_are_named_as_such() -> None:
    page = spec_page()
    for row in (
        "| `grpo`{ #spec.stages.grpo } | [section](#section-spec-stages-grpo)",
        "| `dataVolumes`{ #spec.compute.dataVolumes } | list of [sections](#section-spec-compute-dataVolumes)",
        "| `models`{ #spec.stages.evaluate.models } | mapping of names to [sections](#section-spec-stages-evaluate-models)",
    ):
        assert row in page


def test_every_name_of_the_package_is_on_its_page() -> None:
    page = python_page()
    assert [name for name in deepicd.__all__ if f"`{name}`" not in page] == []
    assert "parse(\n    text: str,\n    *,\n    opened_think: bool = True," in page
    assert "| `truncated` | The generator stopped at its token limit. |" in page
    assert "### `.predictions`" in page


def test_the_sections_of_a_docstring_are_lists_and_code() -> None:
    text = "Does it.\n\nArgs:\n    one: the\n        first.\n    two: more.\n\nExample:\n    >>> 1\n    1"
    assert markdown(text) == "Does it.\n\n**Args**\n\n- `one`: the first.\n- `two`: more.\n\n```pycon\n>>> 1\n1\n```\n"


def test_a_tag_in_a_cell_is_shown_as_it_is() -> None:
    assert cell("an <a> and `<think>` | more") == "an &lt;a> and `<think>` \\| more"


def test_a_default_is_written_as_run_yaml_has_it() -> None:
    page = spec_page()
    for row in (
        "| `sharedMemory`{ #spec.compute.sharedMemory } | size, `64Gi` | `16Gi` |",
        "| `stallAfter`{ #spec.recovery.stallAfter } | duration, `30m` | `30m` |",
        "| `learningRate`{ #spec.stages.grpo.learningRate } | number | `1.0e-06` |",
        "| `path`{ #spec.model.path } | text |  |",
    ):
        assert row in page


def test_every_command_with_its_options_is_on_the_page() -> None:
    page = commands_page()
    for heading in ("### deepicd run\n", "### deepicd artifacts get\n", "### deepicd wait\n", "### deepicd-operator run\n"):
        assert heading in page
    assert "| `-n, --namespace NAME` | the kubeconfig's | Namespace of the run. |" in page


def test_the_site_loads_nothing_from_elsewhere_and_forbids_it(site: Path) -> None:
    found = sorted(site.rglob("*.html"))
    assert len(found) > len(Reason)
    for page in found:
        resources = Resources(page)
        assert [address for address in resources.loaded if FROM_ELSEWHERE.match(address)] == [], page
        assert [policy.partition(";")[0] for policy in resources.policies] == ["default-src 'self' data: 'unsafe-inline'"], page
        assert "|---" not in resources.text, f"{page}: a table is not seen as one: put an empty line before it"
        assert resources.text.count("Research use only – not clinical advice.") >= 2, page
    for style in site.rglob("*.css"):
        assert [address for address in IN_STYLES.findall(style.read_text()) if FROM_ELSEWHERE.match(address)] == [], style
    assert not [path for path in site.rglob("*") if path.suffix in {".py", ".pyc"}]
    assert {"index.html", "search/search_index.json", "reference/reasons/OutOfMemory.html"} <= {
        str(path.relative_to(site)) for path in site.rglob("*")
    }


def test_the_rules_for_contributions_are_part_of_the_developers_page(site: Path) -> None:
    rules = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lead = re.search(r"^- \*\*(.+?)\.\*\*", rules, flags=re.MULTILINE)
    assert lead is not None
    assert f"<strong>{lead[1]}.</strong>" in (site / "guide" / "developer.html").read_text(encoding="utf-8")


def test_a_broken_link_or_anchor_fails_the_build(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    shutil.copytree(ROOT / "docs", docs)
    with (docs / "index.md").open("a") as index:
        index.write("[a](absent.md) [b](run.md#absent)\n")
    with pytest.raises(Abort, match="2 warnings"):
        build(load_config(str(ROOT / "mkdocs.yml"), docs_dir=str(docs), site_dir=str(tmp_path / "site")))


@pytest.mark.parametrize(
    ("place", "free"),
    [
        ("spec.seed", False),
        ("spec.stages.grpo", False),
        ("spec.stages.grpo.rollouts", False),
        ("spec.stages.grpo.microBatchSizePerGpu", True),
        ("spec.storage.s3.bucket", False),
        ("spec.storage.keepLast", True),
        ("spec.compute", False),
        ("spec.compute.gpus", False),
        ("spec.compute.tolerations[].key", True),
        ("spec.recovery", True),
        ("metadata.name", False),
    ],
)
def test_the_reference_marks_what_may_change(place: str, free: bool) -> None:
    assert may_change(place) is free
