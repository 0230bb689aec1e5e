"""Which header of a discharge summary opens which section.

A header is judged by its words alone, as they stand before the colon or on a line of their own.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache

_HISTORY = r"(?:history|hx|histories)"
_DRUGS = r"(?:medications?|meds?|medicines?)(?: list)?"
_EXAM = r"(?:physical exam(?:ination)?|exam(?:ination)?|physical|pe|p/e)"
_DISCHARGE = r"(?:discharge|d/c|dc)"
_FIELD = r"(?:medical|med|surgical|surg|psychiatric|psych|obstetric|ob|gyn|ob/gyn|oncologic|cardiac)"
_STAY = r"hospital|hosp|icu|micu|sicu|ccu|nicu|post-?op|post-?operative|operative|inpatient"
_STATE = r"transitional|active|acute|chronic|inactive|resolved"
_LATER = r"transfer|call-?out|post-?op|post-?operative|interval"
_TESTED = r"pertinent|relevant|significant|admission|admit|initial|lab|laboratory|imaging"
_AND = r" ?(?:/|and|&|,) ?"
_WORDS_BEFORE = r"(?:[a-z/&,()'-]+ ){0,5}"
_WORDS_AFTER = r"(?: [a-z/&,()'-]+){0,6}"


class Header(Enum):
    """What a header stands for. The first eight are written at admission."""

    CHIEF_COMPLAINT = "Chief Complaint"
    PRESENT_ILLNESS = "History of Present Illness"
    PAST_HISTORY = "Past Medical History"
    MEDICATIONS = "Medications on Admission"
    ALLERGIES = "Allergies"
    PHYSICAL_EXAM = "Physical Exam"
    FAMILY_HISTORY = "Family History"
    SOCIAL_HISTORY = "Social History"
    OTHER = "other"
    """Ends the section above it; a section of the admission may still follow."""
    AFTER_ADMISSION = "after admission"
    """The rest of the note was written later; only an explicit list of medications on admission may follow."""


ADMISSION = tuple(header for header in Header if header not in {Header.OTHER, Header.AFTER_ADMISSION})

# In this order: the first pattern that matches all of a header's words (lower case) decides.
_PATTERNS: tuple[tuple[Header, str], ...] = (
    (Header.OTHER, rf"{_DISCHARGE}(?: date| summary| service| attending| unit)(?: .*)?|date of discharge"),
    # Discharge, in the front, at the end or in the middle: "discharge labs", "exam at time of discharge".
    (Header.AFTER_ADMISSION, rf"{_DISCHARGE}{_WORDS_AFTER}"),
    (Header.AFTER_ADMISSION, rf"{_WORDS_BEFORE}(?:on|at|upon|before|prior to|(?:day|time) of) {_DISCHARGE}"),
    (Header.AFTER_ADMISSION, rf"{_WORDS_BEFORE}(?:and|/|&) {_DISCHARGE}{_WORDS_AFTER}"),
    # The course of the stay and what came of it.
    (Header.AFTER_ADMISSION, rf"{_WORDS_BEFORE}(?:{_STAY}) (?:course|summary|stay)(?: .*)?|bhc"),
    (Header.AFTER_ADMISSION, r"course (?:in|during) (?:the )?(?:hospital|icu)(?: .*)?|hospitali[sz]ation course"),
    (Header.AFTER_ADMISSION, r"brief (?:summary|course)|summary of (?:hospitali[sz]ation|admission|stay)"),
    (Header.AFTER_ADMISSION, r"(?:final|primary|principal|secondary|associated)(?: .*)? (?:diagnos[ei]s|dx)"),
    (Header.AFTER_ADMISSION, r"(?:final|primary|principal|secondary|post-?op|post-?operative) (?:diagnos[ei]s|dx).*"),
    (Header.AFTER_ADMISSION, rf"(?:{_STATE})(?: ?(?:/|and|&) ?[a-z]+)? (?:medical )?(?:issues|problems)"),
    (Header.AFTER_ADMISSION, r"follow-? ?up(?: .*)?|(?:patient|home|wound care) instructions|disposition"),
    (Header.AFTER_ADMISSION, r"medication changes|changes to (?:your |home )?medications|new medications"),
    (Header.AFTER_ADMISSION, r"medications? (?:changed|stopped|started)|(?:time|cause) of death"),
    # Exams between admission and discharge.
    (
        Header.AFTER_ADMISSION,
        r"(?:physical )?(?:exam(?:ination)?|pe|vitals?|labs?)(?: [a-z]+){0,2} (?:transfer|call-?out)(?: .*)?",
    ),
    (Header.AFTER_ADMISSION, rf"(?:{_LATER})(?: .*)? (?:exam(?:ination)?|pe|physical)"),
    (Header.MEDICATIONS, rf"{_DRUGS} (?:on|upon|at|prior to|before) (?:admission|admit)"),
    (Header.MEDICATIONS, rf"(?:admission|admitting|pre-? ?admission) {_DRUGS}"),
    (Header.CHIEF_COMPLAINT, r"(?:chief|presenting|primary) ?(?:complaints?|concerns?)(?: ?(?:/|and|&) ?.*)?|cc|c/c"),
    (Header.CHIEF_COMPLAINT, r"reason for (?:admission|hospitali[sz]ation)"),
    (
        Header.PRESENT_ILLNESS,
        rf"(?:{_HISTORY} of (?:the )?)?(?:present|presenting|current) (?:illness(?:es)?|complaints?)",
    ),
    (Header.PRESENT_ILLNESS, rf"h\.?p\.?i\.?|hpi ?/ ?.*|{_HISTORY} of p\.?i\.?"),
    (Header.FAMILY_HISTORY, rf"(?:family|fam)(?: (?:medical|psychiatric))? ?{_HISTORY}|fh|fhx|famhx"),
    (Header.SOCIAL_HISTORY, rf"(?:social|soc)(?:{_AND}(?:family|functional|occupational))? ?{_HISTORY}"),
    (Header.SOCIAL_HISTORY, rf"sh|shx|sochx|sh ?/ ?fh|(?:personal|substance (?:abuse|use)) {_HISTORY}"),
    (Header.PAST_HISTORY, rf"(?:other )?(?:past|prior|previous)(?: {_FIELD})?(?:{_AND}(?:past )?{_FIELD})* {_HISTORY}"),
    (Header.PAST_HISTORY, rf"past {_FIELD}|past {_FIELD} {_HISTORY}{_AND}.*|{_FIELD}(?:{_AND}{_FIELD})* {_HISTORY}"),
    (Header.PAST_HISTORY, rf"{_HISTORY}|pmhx?|pshx?|pmsh|pmhx? ?/ ?pshx?"),
    (Header.MEDICATIONS, rf"(?:home|out-?patient|current) {_DRUGS}|{_DRUGS}(?: at home)?"),
    (Header.ALLERGIES, r"(?:drug |medication |known )?allerg(?:y|ies)(?: list)?(?: ?/ ?.*)?|all|nkda"),
    (Header.ALLERGIES, r"(?:allergies and )?adverse (?:drug )?reactions?"),
    (Header.PHYSICAL_EXAM, rf"{_EXAM}(?: (?:on|at|upon) (?:admission|admit|arrival|presentation))?"),
    (Header.PHYSICAL_EXAM, rf"(?:admission|admitting|admit|initial) (?:{_EXAM}|vitals?|vs)"),
    (Header.OTHER, r"name|unit no|admission date|date of birth|sex|service|attending(?: md)?|facility|code status"),
    (Header.OTHER, r"(?:major )?(?:surgical|invasive)(?: .*)? procedures?|procedures?(?: performed)?|consults?"),
    (Header.OTHER, rf"pertinent|(?:{_TESTED})(?: .*)? (?:results?|labs?|data|findings|studies|values|imaging)|results"),
    (Header.OTHER, r"assessment(?: .*)?|a ?[/&] ?p|plan|impression(?: .*)?"),
    (Header.OTHER, r"(?:(?:admission|admitting|admit|working) )?(?:diagnos[ei]s|dx)"),
)
_COMPILED = tuple((header, re.compile(pattern)) for header, pattern in _PATTERNS)
# Also words, units or diseases (pulmonary embolism): a header only in capitals and before a colon.
_AMBIGUOUS = frozenset({"cc", "c/c", "pe", "p/e", "sh", "fh", "all", "dx", "a/p", "psh", "dc", "d/c", "nkda"})
_WORDS_OF_THE_TEXT = frozenset({"history", "plan", "name", "sex", "all", "physical", "exam", "examination", "results"})


# Every header of the table holds one of these, which spares most lines of a note the table.
_KEYWORD = re.compile(
    r"discharge|d/c|\bdc\b|course|summary|stay|bhc|diagnos|\bdx\b|issues|problems|follow|instructions|disposition|medic"
    r"|\bmeds?\b|exam|vitals?|\bvs\b|labs?|death|complaint|concern|\bcc\b|c/c|reason|illness|h\.?p\.?i|history|histories"
    r"|hx\b|\bp\.?i\b|\b[sf]h\b|\bpm?s?h\b|\bpast\b|\bprior\b|\bprevious\b|allerg|\ball\b|adverse|nkda|physical|\bp/?e\b"
    r"|\bname\b|unit no|date|service|attending|\bsex\b|procedure|results|pertinent|data|findings|studies|values|imaging"
    r"|assessment|\ba ?[/&] ?p\b|\bplan\b|impression|code status|facility|consult"
)


@lru_cache(maxsize=16384)
def header(words: str, colon: bool) -> Header | None:
    """Say what a possible header stands for, or None when it is plain text.

    `colon`: whether a colon follows; without one the words stand alone on their line.
    """
    plain = " ".join(words.lower().replace("_", " ").split())
    if _KEYWORD.search(plain) is None:
        return None
    plain = re.sub(r" ?\([^)]*\)$", "", plain).rstrip(" -.")
    if plain in _AMBIGUOUS and not (colon and words.strip().isupper()):
        return None
    if not colon and not _stands_alone(words, plain):
        return None
    return next((kind for kind, pattern in _COMPILED if pattern.fullmatch(plain)), None)


def _stands_alone(words: str, plain: str) -> bool:
    """Whether words on a line of their own look like a header, not like text that was wrapped there."""
    long = [word for word in words.split() if len(word) > 3]
    titled = all(word[0].isupper() or not word[0].isalpha() for word in long)
    return words[:1].isupper() and plain not in _WORDS_OF_THE_TEXT and (titled or len(words.split()) <= 3)
