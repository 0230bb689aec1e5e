"""The admission note inside a discharge summary.

A discharge summary is written at the end of a stay. Only what was known at admission may reach a model, so sections
are taken by an allow-list, a section ends at any header known to us, and after the first header of a later section
nothing is taken but an explicit list of medications on admission.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from deepicd.data.headers import ADMISSION, Header, header

_LONGEST_HEADER = 72
_BEFORE_HEADER = " \t_*#=-•>~|"
# Within the exam and the medications, also in the middle of a line and in other words: all of them come later.
_LATER = re.compile(
    r"(?:\b(?:on|at|upon|before|prior to|day of|time of)(?: the)?(?: (?:day|time) of)? (?:discharge|d/c|dc\b|transfer)"
    r"|\bdischarge (?:day|physical|exam|vitals?|vs\b|pe\b|labs?|weight|wt\b|med)"
    r"|\bdischarge\s*[:\-]|\b(?-i:DISCHARGE|D/C)\b|\bpost-?op(?:erative)?(?:ly)?\b[^\n]{0,20}:|\bpod ?#? ?\d"
    r"|(?m:^[ \t]*(?:labs?|imaging|studies|micro|microbiology|ekg|ecg|cxr|ct|mri)\b[^\n:]{0,30}:))",
    re.IGNORECASE,
)
_GUARDED = (Header.PHYSICAL_EXAM, Header.MEDICATIONS)
_ESSENTIAL = (Header.CHIEF_COMPLAINT, Header.PRESENT_ILLNESS, Header.PAST_HISTORY)
_WORD = re.compile(r"[^\W_]")
_SEX = re.compile(r"(?m)\bSex:[ \t]*([FM])\b")


def extract(text: str) -> dict[Header, str]:
    """Cut the sections written at admission out of a discharge summary.

    Returns:
        The sections that hold words, in the order of `ADMISSION`, white space tidied. A section that occurs twice
        (`Past Medical History`, then `PSH`) is joined.
    """
    pieces: dict[Header, list[str]] = {}
    for kind, body in _spans(text.replace("\r\n", "\n").replace("\r", "\n")):
        tidy = _tidy(_before_later(body) if kind in _GUARDED else body)
        if tidy:
            pieces.setdefault(kind, []).append(tidy)
    return {kind: "\n".join(pieces[kind]) for kind in ADMISSION if kind in pieces}


def is_empty(sections: Mapping[Header, str]) -> bool:
    """Whether complaint, present illness and past history are all missing: such a note says nothing of the case."""
    return not any(kind in sections for kind in _ESSENTIAL)


def render(sections: Mapping[Header, str]) -> str:
    """Write the sections as the one admission note a model reads."""
    return "\n".join(f"{kind.value}: {sections[kind]}" for kind in ADMISSION if kind in sections)


def sex(text: str) -> str | None:
    """The `Sex:` of the summary's head, F or M."""
    found = _SEX.search(text, 0, 1000)
    return found[1] if found else None


def forbidden_headers(note: str) -> list[str]:
    """Headers of later sections in a rendered note; a correct note has none."""
    return [words for kind, words, _, _ in _headers(note) if kind is Header.AFTER_ADMISSION]


def _headers(text: str, start: int = 0) -> Iterator[tuple[Header, str, int, int]]:
    """Yield (kind, words, begin, end of the header) from the line that begins at `start` on."""
    while start < len(text):
        stop = text.find("\n", start)
        stop = len(text) if stop < 0 else stop
        # A header starts its line, or follows the `___` that stands for removed text.
        for begin in (start, *_after_removed(text, start, stop)):
            found = _header_at(text, begin, stop)
            if found is not None:
                yield found
        start = stop + 1


def _header_at(text: str, begin: int, stop: int) -> tuple[Header, str, int, int] | None:
    line = text[begin : min(stop, begin + 2 * _LONGEST_HEADER)].lstrip(_BEFORE_HEADER)
    words, colon, _ = line.partition(":")
    if not words[:1].isalpha() or len(words) > _LONGEST_HEADER:
        return None
    words = words.rstrip(_BEFORE_HEADER)
    kind = header(words, bool(colon))
    if kind is None:
        return None
    return kind, words, begin, text.index(":", begin) + 1 if colon else stop


def _after_removed(text: str, start: int, stop: int) -> list[int]:
    places = []
    place = text.find("___", start, stop)
    while place >= 0:
        places.append(place + 3)
        place = text.find("___", place + 3, stop)
    return [place for place in places if text.find(":", place, stop) >= 0]


def _spans(text: str) -> Iterator[tuple[Header, str]]:
    opened: Header | None = None
    begin = later = 0
    for kind, _, start, end in _headers(text):
        if start < begin:
            continue
        if opened is not None:
            yield opened, text[begin:start]
        opened, begin = (kind if kind in ADMISSION else None), end
        if kind is Header.AFTER_ADMISSION:
            later = end
            break
    if opened is not None:
        yield opened, text[begin:]
    if later:
        yield from _medication_lists(text, later)


def _medication_lists(text: str, start: int) -> Iterator[tuple[Header, str]]:
    """Lists of medications on admission among the later sections, where real summaries have them."""
    lowered = text.lower()
    place = lowered.find("admi", start)
    while place >= 0:
        line = text.rfind("\n", 0, place) + 1
        headers = _headers(text, line)
        first = next(headers, None)
        if first is not None and first[0] is Header.MEDICATIONS and first[2] <= place <= first[3]:
            following = next(headers, None)
            end = len(text) if following is None else following[2]
            yield Header.MEDICATIONS, text[first[3] : end]
            place = lowered.find("admi", max(end, first[3]))
        else:
            place = lowered.find("admi", place + 4)


def _before_later(body: str) -> str:
    cut = _LATER.search(body)
    return body[: cut.start()] if cut else body


def _tidy(body: str) -> str:
    lines = (" ".join(line.split()) for line in body.split("\n"))
    kept = [line for line in lines if _WORD.search(line)]
    return "\n".join(kept).strip(" :*=")
