"""Text for a Markdown page."""

from __future__ import annotations


def cell(text: str) -> str:
    """Return text for a table cell: one line, with bars and, outside of code, tags escaped."""
    parts = " ".join(text.split()).replace("|", "\\|").split("`")
    return "`".join(part if place % 2 else part.replace("<", "&lt;") for place, part in enumerate(parts))


def sentence(text: str) -> str:
    """Return the text with a full stop, and capitalised if it starts with a plain word."""
    if not text:
        return ""
    word = text.partition(" ")[0]
    return (text[0].upper() + text[1:] if word.isalpha() else text) + "."
