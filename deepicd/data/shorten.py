"""Shortens notes that exceed the model's budget, section by section, the least informative ones first.

Text is only removed, never changed: from the end of a section, by whole words. A section without words left is removed with its
header. A note within its budget stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count

from deepicd.data.headers import ADMISSION, Header

ORDER = (
    Header.MEDICATIONS,
    Header.SOCIAL_HISTORY,
    Header.FAMILY_HISTORY,
    Header.PHYSICAL_EXAM,
    Header.ALLERGIES,
    Header.PAST_HISTORY,
    Header.PRESENT_ILLNESS,
    Header.CHIEF_COMPLAINT,
)
"""Order in which sections are shortened. Each is removed entirely before the next is shortened."""
WHOLE = "note"
"""Name of text outside any section, which is shortened last."""

_HEADER = re.compile(rf"^({'|'.join(re.escape(kind.value) for kind in ADMISSION)}):", re.MULTILINE)
_PLACES = {kind.value: place for place, kind in enumerate(ADMISSION)}
_RANKS = {kind.value: rank for rank, kind in enumerate(ORDER)}
# In text without spaces, a word may be cut.
_WORD = re.compile(r"\S{1,64}")

Count = Callable[[Sequence[str]], list[int]]
"""Returns the tokens of the model's input with each of these notes."""


@dataclass(frozen=True, slots=True)
class Section:
    """A piece of a note, with its header and line break. `name`: value of a `Header`, or WHOLE."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Shortened:
    """A note within its budget. `removed`: characters removed, by section; empty if the note is whole."""

    note: str
    removed: dict[str, int] = field(default_factory=dict)


def split(note: str) -> list[Section]:
    """The sections of an admission note, in its order; joined, they are the note.

    An admission note has its sections in the order of `ADMISSION`, each once (`deepicd.data.sections.render`). Of the lines
    that begin like a section, those count that give the most sections in that order; the others are text.
    """
    found = [(match.start(), match[1]) for match in _HEADER.finditer(note)]
    starts = _longest_in_order(found)
    if not starts or starts[0][0] > 0:
        starts = [(0, WHOLE), *starts]
    ends = [start for start, _ in starts[1:]] + [len(note)]
    return [Section(name, note[start:end]) for (start, name), end in zip(starts, ends, strict=True)]


def shorten(sections: Sequence[Section], budget: int, count_tokens: Callable[[str], int]) -> Shortened:
    """Shorten one note until its tokens are within the budget.

    Raises:
        ValueError: even an empty note is over the budget.
    """
    note = "".join(section.text for section in sections)
    if (tokens := count_tokens(note)) <= budget:
        return Shortened(note)
    search = _search(sections, tokens, budget)
    try:
        asked = next(search)
        while True:
            asked = search.send(count_tokens(asked))
    except StopIteration as end:
        found: Shortened = end.value
        return found


def shorten_all(notes: Sequence[str], budget: int, count_tokens: Count) -> list[Shortened]:
    """Shorten many notes. Their tokens are counted together, in rounds.

    Raises:
        ValueError: even an empty note is over the budget.
    """
    tokens = count_tokens(notes)
    done = {place: Shortened(note) for place, note in enumerate(notes) if tokens[place] <= budget}
    searches = {
        place: _search(split(note), tokens[place], budget) for place, note in enumerate(notes) if tokens[place] > budget
    }
    asked = {place: next(search) for place, search in searches.items()}
    while asked:
        for place, counted in zip(list(asked), count_tokens(list(asked.values())), strict=True):
            try:
                asked[place] = searches[place].send(counted)
            except StopIteration as end:
                done[place] = end.value
                del asked[place]
    return [done[place] for place in range(len(notes))]


def _search(sections: Sequence[Section], whole: int, budget: int) -> Generator[str, int, Shortened]:
    """Yields notes, receives their tokens, and returns the note that fits. `whole`: tokens with all sections."""
    texts = [section.text for section in sections]

    def note(place: int, text: str) -> str:
        return "".join([*texts[:place], text, *texts[place + 1 :]]).rstrip("\n")

    for place in sorted(range(len(sections)), key=lambda place: _RANKS.get(sections[place].name, len(_RANKS))):
        without = yield note(place, "")
        if without <= budget:
            texts[place] = yield from _cut(sections[place], without, whole, budget, partial(note, place))
            break
        texts[place], whole = "", without
    else:
        raise ValueError("even an empty note is over the budget")
    removed = {
        section.name: len(section.text) - len(text)
        for section, text in zip(sections, texts, strict=True)
        if text != section.text
    }
    return Shortened("".join(texts).rstrip("\n"), removed)


def _cut(section: Section, without: int, whole: int, budget: int, note: Callable[[str], str]) -> Generator[str, int, str]:
    """The longest beginning of a section, by whole words, that fits. `without`, `whole`: tokens without and with all of it."""
    header = _HEADER.match(section.text)
    ends = [word.end() for word in _WORD.finditer(section.text, header.end() if header else 0)]
    line_end = "\n" if section.text.endswith("\n") else ""

    def kept(words: int) -> str:
        return section.text[: ends[words - 1]] + line_end if words else ""

    # `low` words fit, `high` words do not.
    low, low_tokens, high, high_tokens = 0, without, len(ends), whole
    steps = count(1)
    while high - low > 1 and low_tokens < budget:
        # Interpolate, since tokens are usually spread evenly over the words. Every third step halves, which bounds the search.
        share = (budget - low_tokens) / (high_tokens - low_tokens) if next(steps) % 3 else 0.5
        words = min(max(low + int((high - low) * share), low + 1), high - 1)
        tokens = yield note(kept(words))
        if tokens <= budget:
            low, low_tokens = words, tokens
        else:
            high, high_tokens = words, tokens
    return kept(low)


def _longest_in_order(found: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """The longest chain of headers whose sections are in the order of `ADMISSION`, each once; if several, the first."""
    ending: dict[int, list[tuple[int, str]]] = {}
    for one in found:
        place = _PLACES[one[1]]
        before = max((chain for last, chain in ending.items() if last < place), key=len, default=[])
        if len(before) >= len(ending.get(place, [])):
            ending[place] = [*before, one]
    return max(ending.values(), key=len, default=[])
