"""Cuts the admission note out of a discharge summary.

A discharge summary is written at the end of a stay. Only what was known at admission may reach a model:

1. Sections are taken from an allow-list. A section ends at the next header that has a meaning in its place.
2. Within the histories (present illness, past history), headers of the emergency room, of another hospital or of an earlier
   stay are text. Headers of this stay hide the text up to the next section.
3. From the exam on, the first header or phrase of a later time ends the admission part. A header of the course or the
   discharge ends it anywhere. After it, only an explicit list of medications on admission is taken.
4. After the results, a section is taken only if it has not occurred before and its header is unambiguous.
5. A wrapped line is text, whatever it starts with. Nothing is taken from a note that has lost its line breaks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepicd.data.exam import small, until_later
from deepicd.data.headers import ADMISSION, Header, is_of_admission, is_weak
from deepicd.data.mid_line import later_header
from deepicd.data.outline import LINE, Found, headers, is_unbroken

_HISTORIES = (Header.PRESENT_ILLNESS, Header.PAST_HISTORY)
_GUARDED = (Header.PHYSICAL_EXAM, Header.MEDICATIONS)
_ESSENTIAL = (Header.CHIEF_COMPLAINT, Header.PRESENT_ILLNESS, Header.PAST_HISTORY)
_WORD = re.compile(r"[^\W_]")
_SEX = re.compile(r"\bSex:[ \t]*([FM])\b")
_IMAGED = re.compile(
    r"[ \t]*(?:ct|cta|mri?|mra|xr|us|chest|x-?ray|ultrasound|echo|portable|radiograph|kub|bilateral|unilateral|pa and|duplex"
    r"|fluoro|angiogra|mammo|pet|bone scan)\b",
    re.IGNORECASE,
)
_SAME_EXAM_LINES = 3


@dataclass(frozen=True, slots=True)
class Span:
    """A kept piece of the source: `source[start:end]`, in characters."""

    kind: Header
    start: int
    end: int


@dataclass(slots=True)
class Admission:
    """The admission note of one summary.

    `spans`: the pieces in the source, in the source's order. `later`: where the admission part ends; the length of the source
    if it does not end. `cut`: characters of later text, by the section they were in. `unbroken`: refused, since its line breaks
    are lost.
    """

    sections: dict[Header, str]
    spans: list[Span]
    later: int
    cut: dict[Header, int]
    unbroken: bool = False


def parse(text: str) -> Admission:
    """Cut the admission note out of a discharge summary.

    Sections are in the order of `ADMISSION`, contain at least one word each, and have normalised white space. The parts of a
    section that occurs twice (`Past Medical History`, then `PSH`) are joined.
    """
    reader = _Reader(text)
    reader.read()
    if is_unbroken(text, reader.later):
        return Admission({}, [], 0, {}, unbroken=True)
    pieces: dict[Header, list[str]] = {}
    spans = []
    for span in reader.spans:
        if tidy := _tidy(text[span.start : span.end]):
            pieces.setdefault(span.kind, []).append(tidy)
            spans.append(span)
    found = {kind: "\n".join(pieces[kind]) for kind in ADMISSION if kind in pieces}
    return Admission(found, spans, reader.later, reader.cut)


def extract(text: str) -> dict[Header, str]:
    """The sections of `parse`."""
    return parse(text).sections


def has_words(text: str) -> bool:
    """Whether a text has a letter or digit."""
    return _WORD.search(text) is not None


def is_empty(sections: Mapping[Header, str]) -> bool:
    """Whether complaint, present illness and past history are all missing: such a note does not describe the case."""
    return not any(kind in sections for kind in _ESSENTIAL)


def render(sections: Mapping[Header, str]) -> str:
    """The admission note that a model reads, from its sections."""
    return "\n".join(f"{kind.value}: {sections[kind]}" for kind in ADMISSION if kind in sections)


def sex(text: str) -> str | None:
    """The `Sex:` in the summary's head: F, M, or None."""
    found = _SEX.search(text, 0, 1000)
    return found[1] if found else None


@dataclass(slots=True)
class _Reader:
    """One pass over a summary, header by header. `opened`: the section whose text is taken; None: text is not taken."""

    text: str
    spans: list[Span] = field(default_factory=list)
    cut: dict[Header, int] = field(default_factory=dict)
    later: int = -1
    opened: Header | None = None
    begin: int = 0
    seen: set[Header] = field(default_factory=set)
    hidden_in: Header | None = None
    results: int = -1

    def read(self) -> None:
        for found in headers(self.text):
            if found.start < self.begin or (found.wrapped and self.opened is not Header.PHYSICAL_EXAM):
                continue
            kind = self._meaning(found)
            if kind is None:
                continue
            self._close(found.start)
            if self.later >= 0:  # the section contained later text
                break
            self._open(kind, found)
            if self.later >= 0:
                break
        else:
            self._close(len(self.text))
        if self.later < 0:
            self.later = self.results if self.results >= 0 else len(self.text)
        else:
            self._medications()

    def _meaning(self, found: Found) -> Header | None:
        """The meaning of a header in its place: a section, OTHER, RESULTS, STAY, AFTER_ADMISSION, or None for text."""
        kind, place = found.kind, self.opened
        if kind in ADMISSION:
            return self._section(kind, found)
        if kind is Header.REPORT or (kind is Header.RESULTS and place is Header.PRESENT_ILLNESS and not found.alone):
            return None if self._is_earlier_report(found) else Header.OTHER
        return self._doubtful(found) if kind in (Header.PART, Header.DOUBTFUL) else kind

    def _doubtful(self, found: Found) -> Header | None:
        place, part = self.opened, found.kind is Header.PART
        examined = place is Header.PHYSICAL_EXAM
        if examined and found.words[:9].lower() == "discharge":
            return None  # of a wound or of the patient: `until_later` decides
        if place in _HISTORIES:
            return Header.STAY if not part and found.alone else None
        if part:
            return Header.STAY if examined else Header.OTHER
        return Header.AFTER_ADMISSION if self.seen else Header.OTHER

    def _is_earlier_report(self, found: Found) -> bool:
        """Whether labs or images are of the emergency room or the history, not of the stay."""
        if self.opened is Header.PRESENT_ILLNESS:
            return not (found.alone and found.after_blank) or is_of_admission(found.words)
        return self.opened is Header.PAST_HISTORY and not found.alone

    def _section(self, kind: Header, found: Found) -> Header | None:
        """The section if it may be taken; otherwise OTHER, or None if no section is open."""
        weak, place = is_weak(found.words), self.opened
        new, examined = kind not in self.seen, Header.PHYSICAL_EXAM in self.seen
        hidden = place is None and (self.hidden_in is not None or examined)
        if kind is Header.MEDICATIONS:
            allowed = _is_explicit(found.words) or not (self.results >= 0 or hidden or (weak and examined))
        elif self.results >= 0:
            allowed = new and found.alone and not weak and kind is not Header.PHYSICAL_EXAM
        elif hidden:
            plain = not weak or found.words.isupper()
            allowed = plain and (new or (found.alone and kind is not Header.PHYSICAL_EXAM))
        else:
            # A complaint after the exam starts another note, such as a consultant's.
            allowed = new or place is not Header.PHYSICAL_EXAM or kind not in (Header.CHIEF_COMPLAINT, Header.PRESENT_ILLNESS)
        if not allowed:
            return None if place is None else Header.OTHER
        if kind is Header.PHYSICAL_EXAM:
            return self._exam(found, weak)
        if kind is Header.PAST_HISTORY and weak and (examined or not new):
            return None if place in _HISTORIES else Header.OTHER
        if kind is Header.ALLERGIES and weak and place is Header.PAST_HISTORY:
            return None  # ALL is also a kind of leukaemia
        return kind

    def _exam(self, found: Found, weak: bool) -> Header | None:
        place = self.opened
        if place is Header.PRESENT_ILLNESS and (found.bullet or (weak and not _is_section(found))):
            return None  # an exam in the emergency room
        if _IMAGED.match(found.following):
            return Header.OTHER
        if place is not Header.PHYSICAL_EXAM or is_of_admission(found.words):
            return Header.PHYSICAL_EXAM
        lines = sum(1 for line in self.text[self.begin : found.start].splitlines() if _WORD.search(line))
        dated = "___" in found.words or "___" in found.following[:12]
        return Header.STAY if lines > _SAME_EXAM_LINES or (dated and lines) else Header.PHYSICAL_EXAM

    def _open(self, kind: Header, found: Found) -> None:
        place, self.begin = self.opened, found.end
        if kind in ADMISSION:
            self.opened, self.hidden_in = kind, None
            if kind is not Header.MEDICATIONS:
                self.results = -1
            self.seen.add(kind)
            return
        self.opened = None
        if kind is Header.AFTER_ADMISSION or (kind is Header.STAY and Header.PHYSICAL_EXAM in self.seen):
            self.later = self.results if self.results >= 0 else found.start
            if place is Header.PHYSICAL_EXAM:
                self._count(place, found.start, self._end_of_part(found.end))
        elif kind is Header.RESULTS and self.results < 0:
            self.results = found.start
        self.hidden_in = place if kind is Header.STAY else self.hidden_in

    def _close(self, end: int) -> None:
        """Take the text of the open section up to `end`, or count it as hidden."""
        if self.opened is None:
            if self.hidden_in is not None:
                self._count(self.hidden_in, self.begin, end)
            return
        stop = end
        if (found := later_header(self.text, self.begin, end)) is not None:
            stop, kind = found
            if kind is Header.AFTER_ADMISSION or Header.PHYSICAL_EXAM in self.seen:
                self.later = stop
            else:
                self._count(self.opened, stop, end)
        if self.opened in _GUARDED:
            kept, cut = until_later(self.text, self.begin, stop)
            self.spans += [Span(self.opened, *piece) for piece in kept]
            if cut is not None:
                self._count(self.opened, cut, end)
                if self.opened is Header.PHYSICAL_EXAM:
                    self.later = max([cut, *(last for _, last in kept)])  # columns of a table are side by side
        elif stop > self.begin:
            self.spans.append(Span(self.opened, self.begin, stop))

    def _count(self, section: Header, start: int, end: int) -> None:
        self.cut[section] = self.cut.get(section, 0) + end - start

    def _end_of_part(self, start: int) -> int:
        following = next(headers(self.text, start), None)
        return len(self.text) if following is None else following.start

    def _medications(self) -> None:
        """Take lists of medications on admission from the later sections, where real summaries have them."""
        text, lowered = self.text, small(self.text)
        place = lowered.find("admi", self.later)
        while place >= 0:
            start = max(text.rfind("\n", 0, place), text.rfind("\r", 0, place)) + 1
            line = LINE.match(text, start)[1]  # type: ignore[index]
            end = start + len(line)
            named = (found for found in headers(line) if found.kind is Header.MEDICATIONS and _is_explicit(found.words))
            if (first := next(named, None)) is not None:
                begin = start + first.end
                following = next(headers(text, begin), None)
                end = max(end, len(text) if following is None else following.start)
                kept, _ = until_later(text, begin, end if following is None else following.start)
                self.spans += [Span(Header.MEDICATIONS, *piece) for piece in kept]
            place = lowered.find("admi", end)


def _is_section(found: Found) -> bool:
    """Whether a short header of an exam opens the summary's exam section."""
    return found.words.isupper() and (found.alone or found.words in {"PE", "P/E"})


def _is_explicit(words: str) -> bool:
    return "admi" in words.lower()


def _tidy(body: str) -> str:
    lines = (" ".join(line.split()) for line in body.splitlines())
    kept = [line for line in lines if _WORD.search(line)]
    return "\n".join(kept).strip(" :*=")
