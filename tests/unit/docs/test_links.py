from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
READ_ON_A_CODE_HOST = [
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "SECURITY.md",
    "charts/deepicd/README.md",
    "docs/run.md",
    "docs/artifacts.md",
    "docs/reasons.md",
    "docs/upgrade.md",
]
PAGES = [
    *READ_ON_A_CODE_HOST,
    *(str(path.relative_to(ROOT)) for kind in ("guide", "adr") for path in (ROOT / "docs" / kind).glob("*.md")),
]


def anchors(page: Path) -> set[str]:
    """Anchors of a page's headings, as code hosts name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_works_where_no_site_is_built(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / page).parent / path if path else ROOT / page
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"
