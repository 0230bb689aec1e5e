"""The page's JavaScript and CSS: two maintained libraries, read from their packages, and a few lines of our own."""

from __future__ import annotations

import base64
from functools import cache
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path

import vl_convert

_OWN = Path(__file__).parent / "templates"


@cache
def charts_script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script; takes about two seconds of CPU, the first time."""
    return _inline(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


@cache
def tables_script() -> str:
    """DataTables as a JavaScript module."""
    return _inline(_of_itables("dt_bundle.js"))


@cache
def own_script() -> str:
    """Draws the charts and tables."""
    return (_OWN / "report.js").read_text(encoding="utf-8")


@cache
def style() -> str:
    """The page's own style sheet."""
    return (_OWN / "report.css").read_text(encoding="utf-8")


def allowed(script: str) -> str:
    """A content security policy's source for exactly this inline script."""
    return f"'sha256-{base64.b64encode(sha256(script.encode()).digest()).decode()}'"


def _of_itables(name: str) -> str:
    """A file of itables, read without importing itables, which would import pandas."""
    found = find_spec("itables")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("itables: is not installed: install deepicd again")
    return Path(found.submodule_search_locations[0], "html", name).read_text(encoding="utf-8")


def _inline(script: str) -> str:
    """The script, escaped so that no text in it ends its element."""
    return script.replace("</script", "<\\/script").replace("<!--", "<\\!--")
