"""Finds where an exam or a list of medications goes beyond the day of admission.

In these sections, later text has no separate header: it starts with a phrase in the middle of a line or a word in brackets, or
it is the right column of a table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_EXAM = r"(?:exam\w*|physical|pe|pex|vitals?|vital signs|vs|mse|neuro\w*|labs?)"
_WHEN = r"(?:on|at|upon|before|prior to|(?:day|date|time|morning) of)"
# Words at which later text may begin, in lower case. The words around them decide. A search that starts with plain letters is
# several times as fast as a search for the whole phrases.
_WORD = re.compile(
    r"discharge|d/c|dc|disch\b|dishcarge|dischage|disharge|dischrage|transfer"
    r"|call-?out|death|expiration|pronounced|pod|ho?d ?#? ?\d|hospital day|post-?op|post-?procedur"
    r"|post-?cath|post-?extub|post-?surg|pre-?discharge|interval|interim|final|last|latest|most recent|repeat|subsequent"
    r"|follow-?up|exit|dispo|closing|today|this (?:morning|afternoon|evening)|now\b|leaving|end of"
)
_DISCHARGE = frozenset({"discharge", "d/c", "dc", "disch", "dishcarge", "dischage", "disharge", "dischrage"})
_LATER_FROM = re.compile(
    r"pod ?#? ?\d|ho?d ?# ?\d|ho?d ?\d+\b|hospital day\b|post-?op(?:erative)? day\b|pre-?discharge\b"
    r"|pronounced (?:dead|deceased)"
    r"|post-?op(?:erative)?(?:ly)?\b[^\r\n]{0,20}:|post-?(?:procedur|cath|extub|surg)\w*[^\r\n:]{0,20}:"
    r"|(?:transfer|call-?out|death|post-?op\w*|interval|interim|final|last|latest|most recent|repeat|subsequent|follow-?up|exit"
    rf"|dispo(?:sition)?|today'?s|closing) (?:\w+ ){{0,2}}{_EXAM}\b(?=[^\r\n]{{0,30}}(?::|[\r\n]|\Z))"
    r"|end of (?:the )?(?:hospital|stay|admission)|today ?:"
)
# An exam that is neither of a part of the body nor of the admission is of another day: "Floor exam:", "Current PE:".
_ANOTHER_EXAM = re.compile(
    r"[\r\n][ \t*#=\-~>(\[]*((?:[\w'/&#.-]+ ){1,4}(?:exam(?:ination)?|pe|vitals?|vs)\b[^\r\n:]{0,20}:|"
    r"(?:exam(?:ination)?|pe) [^\r\n:]{1,20}:)"
)
_SAME_EXAM = re.compile(
    r"\b(?:neuro\w*|mental|status|psych\w*|cardi\w*|heart|cv|pulm\w*|resp\w*|lungs?|chest|abd\w*|skin|derm\w*|gyn\w*|pelvic|rectal"
    r"|genit\w*|gu|msk|musculo\w*|extrem\w*|ext|eyes?|ophth\w*|fund\w*|breast|vasc\w*|pulses?|motor|sensory|sensori\w*|cranial|cn"
    r"|spin\w*|joints?|wound|oral|dental|ent|head|neck|heent|general|focused|detailed|ortho\w*|hands?|foot|feet|knees?|hips?|shoulders?"
    r"|back|lymph\w*|thyroid|cerebell\w*|coordination|gait|strength|reflex\w*|admission|admit\w*|arrival|initial|presentation"
    r"|ed|er|physical|vital|secondary|primary|trauma|external|speculum|bimanual|vaginal|cervical|sterile|ob\w*|limited|brief|upper|lower"
    r"|left|right|bedside|swallow|language|speech|cognit\w*|mini|on|full|complete|remainder|rest|unable|no|orthostatic\w*)\b"
)
_LATER_AT = re.compile(r"(?:transfer|call-?out|death|expiration)\b")
_LATER_AT_BEFORE = re.compile(rf"\b{_WHEN}(?: the)?(?: (?:day|date|time) of)?(?: the)?(?: [\w/]+)? ?$")
_LATER_DAY = re.compile(r"(?:today|this (?:morning|afternoon|evening)|now|leaving|last day|final day|end)\b")
_LATER_DAY_BEFORE = re.compile(rf"\b{_EXAM}(?: (?:at|on|upon|before|prior to))?(?: the)? $")
_LEAVING_BEFORE = re.compile(rf"(?:\b{_WHEN}|\bpre-?|\bhospital)(?: the)?(?: (?:day|date|time) of)?\s*$")
_LEAVING_AFTER = re.compile(
    rf"\s+(?:day|{_EXAM}|weight|wt|med\w*|mental|status|summary|condition|diagnos\w+|instructions|disposition|date|\d|_{{3}})",
    re.IGNORECASE,
)
_COLON_AFTER = re.compile(r"[ \t]*(?:[:=\-–)\]]|$)", re.MULTILINE)
_AT_A_START = re.compile(r"(?:^|[.;(\[=*#|/&,+]|\band|\s{2}|\t)[ \t*#=\-•>~|(\[]*$", re.IGNORECASE)
_OF_A_BODY_BEFORE = re.compile(
    r"\b(?:no|nor|or|with|w/|without|any|denies|nasal|nose|nares|wound|eyes?|ocular|conjunctival|ears?|aural|vaginal|cervical|penile"
    r"|urethral|nipple|breast|rectal|anal|stoma\w*|incision\w*|drain\w*|site|purulent|mucopurulent|bloody|serous|serosanguin\w*"
    r"|sanguin\w*|clear|yellow|white|green|brown|thick|thin|foul|malodorous|scant|minimal|mild|moderate|copious|some|\+|w/o"
    r"|active|erythema|exudates?|drainage|redness|swelling|tenderness|fluctuance|warmth|induration|bleeding|odor)"
    r"[\s,:/+]*(?:(?:or|and|of)\s+)?$",
    re.IGNORECASE,
)
_OF_A_BODY_AFTER = re.compile(
    r"[ \t]*[:\-]?[ \t]*(?:none\b|absent|present\b|scant|minimal|moderate|copious|purulent|mucopurulent|bloody|serous|serosang"
    r"|yellow|green|thick|foul|malodorous|not (?:seen|noted|present))|\s+(?:from|noted|seen|visible|expressed|in|around|or)\b"
    r"|\s+at (?:the )?(?:site|incision|wound|os|meatus)",
    re.IGNORECASE,
)
_CELL = re.compile(r"[^\s|](?:[^\t|\r\n ]| (?! ))*")
_LATER_CELL = re.compile(
    r"(?:(?:on|at|upon|day of|physical|exam(?:ination)?|pe|vitals?)\W+)*(?:discharge|d/c|dc|transfer|final|last)"
    r"(?:\W+(?:exam(?:ination)?|physical(?: exam)?|pe|day|vitals?|date|_+))*\W*",
    re.IGNORECASE,
)
_LINE = re.compile(r"[^\r\n]*")
_WIDEST_HEAD = 120
_NEAR = 60


def until_later(text: str, begin: int, end: int) -> tuple[list[tuple[int, int]], int | None]:
    """The pieces (start, stop) of `text[begin:end]` before later text, and where later text begins (None: nowhere).

    In a table with a column for the discharge, the columns before it are pieces.
    """
    for place in _leavings(text, begin, end):
        start = max(text.rfind("\n", begin, place), text.rfind("\r", begin, place), begin - 1) + 1
        head = _later_column(text, start, _LINE.match(text, start, end).end())  # type: ignore[union-attr]
        if head is None:
            return [(begin, place)] if place > begin else [], place
        rows = list(_rows(text, head, start, end))
        return [(begin, start), *rows] if start > begin else rows, start
    return ([(begin, end)] if end > begin else []), None


def _leavings(text: str, begin: int, end: int) -> Iterator[int]:
    """Places at which later text begins."""
    lowered = small(text[begin:end])
    another = _another_exam(lowered)
    for found in _WORD.finditer(lowered):
        start = found.start()
        if 0 <= another <= start:
            break
        if start and lowered[start - 1].isalnum():
            continue
        before = re.split(r"[\r\n]", lowered[max(0, start - _NEAR) : start])[-1]
        if found[0] in _DISCHARGE:
            after = lowered[found.end() : found.end() + _NEAR]
            later = not after[:1].isalnum() and _is_leaving(before, after)
        else:
            later = (
                _LATER_FROM.match(lowered, start) is not None
                or (_LATER_AT.match(lowered, start) is not None and _LATER_AT_BEFORE.search(before) is not None)
                or (_LATER_DAY.match(lowered, start) is not None and _LATER_DAY_BEFORE.search(before) is not None)
            )
        if later:
            yield begin + start
    if another >= 0:
        yield begin + another


def _another_exam(lowered: str) -> int:
    """Where a line starts an exam of another day, after some text of this exam; -1 if none does."""
    if "exam" not in lowered and "pe" not in lowered and "v" not in lowered:
        return -1
    for found in _ANOTHER_EXAM.finditer(lowered):
        if _SAME_EXAM.search(found[1]) is None and lowered[: found.start()].strip():
            return found.start(1)
    return -1


def small(text: str) -> str:
    """Lower case of the same length: a few letters of other scripts would otherwise become two characters."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(letter.lower()[0] for letter in text)


def _is_leaving(before: str, after: str) -> bool:
    """Whether the words around `discharge` show that the patient is discharged, and that it is not of a wound or a nose."""
    if _LEAVING_BEFORE.search(before) or _LEAVING_AFTER.match(after):
        return not _OF_A_BODY_BEFORE.search(before)
    if _OF_A_BODY_AFTER.match(after) or _OF_A_BODY_BEFORE.search(before):
        return False
    return bool(_AT_A_START.search(before)) or bool(_COLON_AFTER.match(after) and before[-1:] != ",")


def _later_column(text: str, start: int, stop: int) -> tuple[int, int, int] | None:
    """For the head of a table: number of cells, index of the cell of the discharge, and its column. None for other lines."""
    if stop - start > _WIDEST_HEAD:
        return None
    cells = list(_CELL.finditer(text, start, stop))
    place = next((place for place, cell in enumerate(cells) if _LATER_CELL.fullmatch(cell[0].strip())), 0)
    return (len(cells), place, cells[place].start() - start) if place else None


def _rows(text: str, head: tuple[int, int, int], start: int, end: int) -> Iterator[tuple[int, int]]:
    """For each row of a table, the piece left of the column of the discharge; nothing for rows with too few cells."""
    count, place, column = head
    while start < end:
        stop = _LINE.match(text, start, end).end()  # type: ignore[union-attr]
        cells = list(_CELL.finditer(text, start, stop))
        # A row may have a label without a cell in the head.
        kept = place + (1 if len(cells) > count else 0)
        if len(cells) >= count:
            left = [cell for cell in cells[:kept] if cell.start() - start < column]
            if left:
                yield left[0].start(), left[-1].end()
        start = stop + 1
