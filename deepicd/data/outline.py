"""Finds the headers in the lines of a summary."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from deepicd.data.headers import LATER_NAMES, TEMPLATE_NAMES, Header, header

_BEFORE_HEADER = " \t*#=-•>~|"
LINE = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|$)")
# A header starts its line or follows `___`, which stands for removed text.
_FIRST = re.compile(r"[ \t*#=\-•>~|]*+((?=[^\W\d_]|___|\d\d[ -]?h)[^:\r\n]{1,72}+)(:|(?=[\r\n])|\Z)")
_CANDIDATE = re.compile(r"[\r\n_]" + _FIRST.pattern)
_COLUMNS = re.compile(r" {3}|\t|\|")
_BULLET = re.compile(r"[ \t]*(?:[-•+]|\*(?!\*)|\d+[.)])[ \t]*(?=\w)")
# A line is wrapped if the line before is about full and does not end a sentence, or ends within a phrase.
_FULL = 40
_NEAR = 160
_ENDS = ".:;!?\n"
_OPEN_END = re.compile(
    r"\b(?:a|an|the|his|her|their|and|or|with|of|for|in|at|to|by|on|after|from|was|were|is|during|no|prior|last|previous"
    r"|outside|recent|since|before|without|per|following|as)$",
    re.IGNORECASE,
)
_LONG_LINE = 200
_HEADERS_OF_A_LINE = 3
_LONGEST_NOTE_OF_ONE_LINE = 300


@dataclass(slots=True)
class Found:
    """A header in the source. `start`, `end`: its range, with the colon; `line`: start of its line, -1 if it is in mid-line."""

    text: str
    kind: Header
    words: str
    line: int
    start: int
    end: int

    @property
    def following(self) -> str:
        """The text after it on its line."""
        return LINE.match(self.text, self.end)[1].strip(" \t*=_")  # type: ignore[index]

    @property
    def alone(self) -> bool:
        """Whether no text follows on its line."""
        return not self.following

    @property
    def bullet(self) -> bool:
        """Whether it is an item of a list."""
        return self.line >= 0 and _BULLET.match(self.text, self.line) is not None

    @property
    def after_blank(self) -> bool:
        """Whether the line before is blank."""
        return self.line > 0 and not self._before()

    @property
    def wrapped(self) -> bool:
        """Whether its line continues the sentence of the line before."""
        if self.line <= 0 or self.text[self.line - 2] in _ENDS:
            return False
        if self.text.rfind("\n", max(0, self.line - 1 - _FULL), self.line - 1) >= 0:
            return False  # most lines are shorter; this check avoids copying them
        before = self._before()
        if len(before) < _FULL or before[-1] in _ENDS:
            return False
        return self.words[0].islower() or _OPEN_END.search(before) is not None

    def _before(self) -> str:
        stop = self.line - 2 if self.text[self.line - 2 : self.line] == "\r\n" else self.line - 1
        first = max(0, stop - _NEAR)
        begin = max(self.text.rfind("\n", first, stop), self.text.rfind("\r", first, stop)) + 1
        return self.text[max(first, begin) : max(0, stop)].strip()


def headers(text: str, start: int = 0) -> Iterator[Found]:
    """Yield possible headers, from the line that begins at `start`."""
    first = _FIRST.match(text) if start == 0 else None
    for place in chain([first] if first else (), _CANDIDATE.finditer(text, max(0, start - 1))):
        words, colon = place[1], place[2]
        if not (colon or words[0].isupper() or words[0] == "_"):
            continue
        words = words.rstrip(_BEFORE_HEADER)
        if not colon and _COLUMNS.search(words) is not None:
            continue
        begin = place.start(1)
        line = -1 if text[place.start()] == "_" else place.start() + (place is not first)
        kind = header(words, bool(colon))
        if kind is None:
            if not colon or "___" not in words:
                continue
            rest = words[words.rindex("___") + 3 :].lstrip(_BEFORE_HEADER)
            kind = header(rest, True) if rest[:1].isalpha() else None
            if kind is None:
                continue
            begin, line, words = begin + len(words) - len(rest), -1, rest
        yield Found(text, kind, words, line, begin, place.end(2) if colon else place.end(1))


def is_unbroken(text: str, stop: int | None = None) -> bool:
    """Whether a summary has lost line breaks up to the line of `stop`.

    It has if one line contains the headers of several sections, or if a long text has only one line.
    """
    if len(text) > _LONGEST_NOTE_OF_ONE_LINE and "\n" not in text and "\r" not in text:
        return True
    for line in _long_lines(text, len(text) if stop is None else stop):
        lowered = line.lower()
        named = [name for name in TEMPLATE_NAMES if f"{name}:" in lowered]
        if len(named) >= _HEADERS_OF_A_LINE or (len(named) > 1 and any(name in LATER_NAMES for name in named)):
            return True
    return False


def _long_lines(text: str, last: int) -> Iterator[str]:
    ending = "\n" if "\n" in text else "\r"
    start = 0
    while start <= last and start < len(text):
        stop = text.rfind(ending, start, start + _LONG_LINE + 1)
        if stop < 0:
            stop = text.find(ending, start)
            stop = len(text) if stop < 0 else stop
            yield text[start:stop]
        start = stop + 1
