"""An mkdocs hook: adds the generated pages, and puts them and the decisions into the navigation.

A page is a pure function of the code that it documents. Generated pages are not kept in the repository.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from deepicd_operator.reasons import Reason
from docs.pages.commands import commands_page
from docs.pages.fields import spec_page
from docs.pages.python import python_page
from docs.pages.reasons import notes, reason_page, reasons_index

REASONS = "reference/reasons/index.md"
CHART = "reference/chart.md"
ROOT = Path(__file__).parents[1]
RULES = ("See [Contributing](../../CONTRIBUTING.md).", '--8<-- "CONTRIBUTING.md:2:"')
"""A link to a file that is no page of the site, and the snippet that includes the file instead."""
KEPT = {CHART: "charts/deepicd/README.md", "changelog.md": "CHANGELOG.md", "security.md": "SECURITY.md"}
"""Pages that are files of the repository outside `docs`, by their place in the site."""


def pages() -> dict[str, str]:
    """Return the text of each generated page, by its path below `docs`."""
    written = notes()
    found = {
        "reference/run-yaml.md": spec_page(),
        "reference/commands.md": commands_page(),
        "reference/python.md": python_page(),
        REASONS: reasons_index(),
    }
    return found | {f"reference/reasons/{reason}.md": reason_page(reason, written.get(reason, "")) for reason in Reason}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those in `docs`."""
    for place, text in pages().items():
        files.append(File.generated(config, place, content=text))
    for place, path in KEPT.items():
        files.append(File.generated(config, place, abs_src_path=str(ROOT / path)))
    reasons = [REASONS, *(f"reference/reasons/{reason}.md" for reason in Reason)]
    reference = ["reference/run-yaml.md", "reference/commands.md", "reference/python.md", {"Reasons": reasons}, CHART]
    decisions = sorted(file.src_uri for file in files.documentation_pages() if file.src_uri.startswith("adr/"))
    config.nav = [*(config.nav or []), {"Reference": reference}, {"Decisions": decisions}]
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links to the generated pages, and start a new paragraph at each bold lead of a terse file."""
    place = page.file.src_uri
    markdown = site_links(markdown.replace(*RULES), place)
    terse = place == CHART or place.startswith("adr/")
    return re.sub(r"^(?=\*\*)", "\n", markdown, flags=re.MULTILINE) if terse else markdown


def site_links(markdown: str, place: str) -> str:
    """Return the text of the page at `place`, with links to pages of the site.

    The repository's links work on a code host, which has no generated pages: they point to `docs/reasons.md` and to files
    outside `docs`.
    """
    folder, source = posixpath.dirname(place), posixpath.dirname(KEPT.get(place, f"docs/{place}"))
    generated = {f"docs/reasons.md#{reason.lower()}": f"reference/reasons/{reason}.md" for reason in Reason}
    generated |= {"docs/reasons.md": REASONS} | {path: kept for kept, path in KEPT.items()}

    def link(match: re.Match[str]) -> str:
        if "://" in match[1] or match[1].startswith("#"):
            return match[0]
        path = posixpath.normpath(posixpath.join(source, match[1]))
        target = generated.get(path) or (path.removeprefix("docs/") if place in KEPT else None)
        return f"]({posixpath.relpath(target, folder)})" if target else match[0]

    return re.sub(r"\]\(([^)\s]+)\)", link, markdown)
