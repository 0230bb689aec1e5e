"""Finds headers of the stay or the discharge in the middle of a line, and those of the hospital course without a colon.

    … was admitted - Hospital Course: She was given fluids.
    Hospital Course - She was given fluids.

Elsewhere headers begin their line (`deepicd.data.outline`). In mid-line most words before a colon are text, so only a few
headers count, and only where they cannot belong to the words before them: `at the outside Hospital Course:` is text.
"""

from __future__ import annotations

import re

from deepicd.data.headers import Header, header, is_elsewhere, is_of_ward

# The template's spelling counts after any words, as in a note that lost some line breaks.
_TEMPLATE = (
    *("Brief Hospital Course", "BRIEF HOSPITAL COURSE"),
    *(f"Discharge {word}" for word in ("Medications", "Disposition", "Diagnosis", "Diagnoses", "Condition", "Instructions")),
    *(f"DISCHARGE {word}" for word in ("MEDICATIONS", "DISPOSITION", "DIAGNOSIS", "DIAGNOSES", "CONDITION", "INSTRUCTIONS")),
)
_ENDS: tuple[str, ...] = (
    *("ourse", "nosis", "noses", "ctions", "ition", "ssues", "roblem", "roblems", "ystem", "ystems", "ummary"),
    *("ospital", " Dx", " dx", "BHC", "A/P", "A&P", " Plan", "/Plan"),
)
_ENDS += tuple(end.upper() for end in _ENDS)
_AROUND = " \t*_\"'[]()"
_LONGEST = 72
# After one of these a header is not part of a phrase: the end of a sentence, a dash, a bullet, a bracket, a wide gap.
_PARTED = re.compile(r".*(?:(?<!\bSt)(?<!\bDr)(?<!\bMt)[.;:!?)\]][*_]*\s*|[(\[|•>\t\"]\s*|\s\s+|\s[-–—*#=~]+\s*|--+\s*)")
# Without such a sign: capitals after a word in small letters or a number, `was admitted Hospital Course:`.
_CAPITALS = re.compile(r"(?:^|\s)[a-z\d]\S* (?=([A-Z][\w/&-]*(?: (?:of |by |and )?[A-Z][\w/&-]*)*)$)")
_BARE = re.compile(
    r"[ \t*#=\-•>~|(\[\"]*(?:(?:Brief|BRIEF|Summary of|SUMMARY OF) )?(?:Hospital Course|HOSPITAL COURSE)"
    r"[*_]*(?:[ \t]*[-–—=\])\"]|\t|  |(?<=E) )"
)
_PHRASE = re.compile(
    r"\b(?:the|an?|her|his|their|its|th(?:is|at)|of|at|in|from|during|with|by|and|or|another|other|earlier|long|complicated)"
    r",?\s$"
)


def later_header(text: str, begin: int, end: int) -> tuple[int, Header] | None:
    """The first such header in `text[begin:end]`: its start, and STAY or AFTER_ADMISSION."""
    if (bare := _bare(text, begin, end)) >= 0:
        end = bare
    place = text.find(":", begin, end)
    while place >= 0:
        stop = place
        while stop > begin and text[stop - 1] in _AROUND:
            stop -= 1
        if text.endswith(_ENDS, begin, stop) and (found := _read(text, begin, stop)) is not None:
            return found
        place = text.find(":", place + 1, end)
    return (bare, Header.AFTER_ADMISSION) if bare >= 0 else None


def _bare(text: str, begin: int, end: int) -> int:
    """Where a line starts with the hospital course and a sign other than a colon; -1 if none does."""
    for words in ("ospital Course", "OSPITAL COURSE"):
        place = text.find(words, begin, end)
        while place >= 0:
            line = max(text.rfind("\n", begin, place), text.rfind("\r", begin, place)) + 1
            if line and _BARE.match(text, line, end) and not _PHRASE.search(text[max(begin, line - _LONGEST) : line].lower()):
                return line
            place = text.find(words, place + 1, end)
    return -1


def _read(text: str, begin: int, stop: int) -> tuple[int, Header] | None:
    """The header that ends at `stop`."""
    for name in _TEMPLATE:
        if text.endswith(name, begin, stop):
            return stop - len(name), Header.AFTER_ADMISSION
    first = max(begin, stop - _LONGEST)
    line = max(text.rfind("\n", first, stop), text.rfind("\r", first, stop), first - 1) + 1
    found = text[line:stop]
    parted = _PARTED.match(found) or _CAPITALS.search(found)
    if parted is None:
        return None
    before, words = found[: parted.end()], found[parted.end() :].strip(_AROUND)
    if not words[:1].isupper() or (parted.re is _CAPITALS and _PHRASE.search(before.lower())):
        return None
    if not words.istitle() and not words.isupper() and is_elsewhere(before):
        return None  # `He was admitted last month. Discharge diagnosis: gout.`
    kind = header(words, True)
    if kind is Header.AFTER_ADMISSION or (kind is Header.STAY and (is_of_ward(words) or words.lower().endswith(("plan", "p")))):
        return line + parted.end(), kind
    return None
