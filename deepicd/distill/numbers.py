"""The numbers in a text, to find those that are not in another text."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(?<![\w.])\d+(?:,\d{3})+(?:\.\d+)?|(?<![A-Za-z_\d.])\d+(?:\.\d+)?")
_ITEM = re.compile(r"(?m)^\s*\(?\d{1,2}[.)]\s")
_WRITTEN = {
    "one": 1, "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10, "eleven": 11,
    "twelve": 12,
}  # fmt: skip


def numbers(text: str) -> set[float]:
    """The numbers written in digits, such as `38.5`, `12,000`, `92%`, `10mg`; not `L5` or the numbers of list items."""
    return {float(found.replace(",", "")) for found in _NUMBER.findall(_ITEM.sub(" ", text))}


def numbers_of_note(note: str) -> set[float]:
    """The numbers that a trace may repeat: those in digits, and small ones in words."""
    words = set(re.findall(r"[a-z]+", note.lower()))
    return numbers(note) | {float(number) for word, number in _WRITTEN.items() if word in words}
