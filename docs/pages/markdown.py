"""Text on its way into a page."""

from __future__ import annotations


def cell(text: str) -> str:
    """Text for a cell of a table: one line, and no bars or tags of its own."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def sentence(text: str) -> str:
    """With a capital letter, where it begins with a word and not with a name, and a full stop."""
    if not text:
        return ""
    word = text.partition(" ")[0]
    return (text[0].upper() + text[1:] if word.isalpha() else text) + "."
