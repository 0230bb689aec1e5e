"""Matplotlib figures as inline SVG: deterministic, without external references, and accessible to screen readers."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

WIDTH = 9.0
"""Width of every figure in inches. With one width, fonts have the same size in all figures on the page."""
INK = "#1f2933"
MUTED = "#66727f"
RULE = "#d5dae0"
FONT = "'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"

_SETTINGS = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["Liberation Sans", "Arial", "DejaVu Sans"],
    "font.size": 8.5,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
}
_ROOT = re.compile(r"<svg .*?>", re.DOTALL)
_FAMILY = re.compile(r"(font: [^;\"]*?[\d.]+px) [^;\"]*")


@contextmanager
def style() -> Iterator[None]:
    """Draw in the report's style; the user's matplotlibrc is ignored."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def render(figure: Figure, name: str, description: str) -> str:
    """Turn a figure into an `<svg>` element that fills the available width.

    Args:
        figure: drawn within `style`.
        name: prefix of the element's ids; unique on the page.
        description: text alternative for screen readers.
    """
    written = io.StringIO()
    nothing: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with mpl.rc_context({"svg.hashsalt": name}):
        figure.savefig(written, format="svg", metadata=nothing, transparent=True)
    svg = written.getvalue()
    root = _ROOT.search(svg)
    box = re.search(r'viewBox="[\d. ]+"', root[0]) if root else None
    if root is None or box is None:
        raise RuntimeError("matplotlib wrote an SVG without a viewBox")
    label = html.escape(description, quote=True)
    body = svg[root.end() :].replace("xlink:href", "href")
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = body.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    body = _FAMILY.sub(rf"\1 {FONT}", body)
    return f'<svg role="img" aria-label="{label}" {box[0]}>{body}'
