"""The codes of a synthetic hospital, their frequencies, and how each presents in a note."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from deepicd import icd10
from deepicd.data.synthetic.lexicon import Presentation, lexicon
from deepicd.errors import UserError

_SIBLINGS = (2, 4)
_LONGEST_DESCRIPTION = 14  # words; a trace ends with it
_NO_PRINCIPAL_DIAGNOSES = frozenset({16, 20})  # of adults: newborns' conditions, external causes
_CATEGORIES_IN_A_ROW = 2  # of one chapter, which makes a chapter easier to recognise than a category
_PREGNANCY = 15
_WOMEN = frozenset({"female", "uterus", "ovary", "ovarian", "cervix", "vagina", "vulva", "menopausal"})
_MEN = frozenset({"male", "prostate", "testis", "penis", "scrotum", "prepuce"})
_LEFT_OUT = re.compile(r"unspecified|\bother\b|overlapping|subsequent|sequela|open fracture|underdosing|adverse effect")


@dataclass(frozen=True, slots=True)
class Disease:
    """One code.

    `sex`: F or M if only they can have it. `signs`: for each part of the description that its chosen siblings do not share, the
    ways to phrase it.
    """

    code: str
    chapter: int
    sex: str | None
    description: str
    category_description: str
    presentation: Presentation
    signs: tuple[tuple[str, ...], ...]


def choose(number: int, rng: random.Random) -> list[Disease]:
    """Choose codes from all chapters in turn, a few siblings per category; returned with the most frequent first.

    Categories with their own words in the lexicon are chosen first. Siblings share the category's findings and differ in side,
    site, severity and the like, which makes a category easier to recognise than its full code.

    Raises:
        UserError: the table has fewer suitable codes.
    """
    chosen: list[Disease] = []
    for category, codes in _categories(rng):
        siblings = _siblings(codes, min(rng.randint(*_SIBLINGS), number - len(chosen)), rng)
        chosen += _diseases(category, siblings)
        if len(chosen) >= number:
            rng.shuffle(chosen)
            return chosen
    raise UserError(f"data.synthetic.codes: {number} requested, but only {len(chosen)} codes are suitable: request fewer")


def frequencies(number: int, exponent: float) -> list[float]:
    """Zipf weights, most frequent first: the k-th is k ** -exponent."""
    return [1 / (rank + 1) ** exponent for rank in range(number)]


def _categories(rng: random.Random) -> list[tuple[str, list[str]]]:
    suitable: dict[str, list[str]] = defaultdict(list)
    for code in icd10.billable_codes(icd10.LAST_YEAR):
        description = icd10.description(code)
        if len(description.split()) <= _LONGEST_DESCRIPTION and not _LEFT_OUT.search(description.lower()):
            suitable[icd10.category(code)].append(code)
    by_chapter: dict[int, list[str]] = defaultdict(list)
    for category, codes in suitable.items():
        if len(codes) >= _SIBLINGS[0] and icd10.chapter(category) not in _NO_PRINCIPAL_DIAGNOSES:
            by_chapter[icd10.chapter(category)].append(category)
    order: list[tuple[int, float, int, str]] = []
    known = lexicon().categories
    for categories in by_chapter.values():
        rng.shuffle(categories)
        categories.sort(key=lambda category: category not in known)
        place = rng.random()
        for turn, category in enumerate(categories):
            own_words = 0 if category in known else len(known)
            order.append((own_words + turn // _CATEGORIES_IN_A_ROW, place, turn, category))
    return [(category, suitable[category]) for *_, category in sorted(order)]


def _siblings(codes: Sequence[str], number: int, rng: random.Random) -> Sequence[str]:
    """Neighbours in the table, which differ in their last characters."""
    start = rng.randrange(max(1, len(codes) - number + 1))
    return codes[start : start + number]


def _diseases(category: str, codes: Sequence[str]) -> list[Disease]:
    words = lexicon()
    parts_of = {code: words.paraphrases(icd10.description(code)) for code in codes}
    shared = [part for part in parts_of[codes[0]] if all(part in parts for parts in parts_of.values())] if codes else []
    title = icd10.description(category)
    presentation = words.categories.get(category)
    if presentation is None:
        own = [part[0] for part in shared] + [part[0] for part in words.paraphrases(title)]
        chapter = icd10.chapter(category)
        presentation = Presentation(
            own[0] if own else "old illness",
            tuple(words.chapters[chapter]),
            tuple(dict.fromkeys(own)) or ("seen in clinic",),
        )
    return [
        Disease(
            code=code,
            chapter=icd10.chapter(code),
            sex=_sex(code),
            description=icd10.description(code),
            category_description=title,
            presentation=presentation,
            signs=tuple(part for part in parts_of[code] if part not in shared)[:4],
        )
        for code in codes
    ]


def _sex(code: str) -> str | None:
    words = set(icd10.description(code).lower().replace(",", " ").split())
    if icd10.chapter(code) == _PREGNANCY or words & _WOMEN:
        return "F"
    return "M" if words & _MEN else None
