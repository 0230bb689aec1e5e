"""Maps the headers of a discharge summary to sections.

Only the words of a header count, before a colon or alone on their line. `deepicd.data.sections` decides from its place what a
doubtful header means.
"""

from __future__ import annotations

import re
from enum import Enum
from functools import lru_cache


class Header(Enum):
    """The meaning of a header. The first eight are sections written at admission."""

    CHIEF_COMPLAINT = "Chief Complaint"
    PRESENT_ILLNESS = "History of Present Illness"
    PAST_HISTORY = "Past Medical History"
    MEDICATIONS = "Medications on Admission"
    ALLERGIES = "Allergies"
    PHYSICAL_EXAM = "Physical Exam"
    FAMILY_HISTORY = "Family History"
    SOCIAL_HISTORY = "Social History"
    OTHER = "other"
    """Ends the section before it; sections of the admission may still follow."""
    RESULTS = "results"
    """The results of the stay in the template: what looks like sections after it is part of reports."""
    REPORT = "report"
    """Labs, imaging, an unnamed exam: of the emergency room if in the present illness, otherwise of the stay."""
    PART = "part"
    """Text within the histories; ends any other section."""
    DOUBTFUL = "doubtful"
    """After admission, unless it is in the histories and its text follows on the same line."""
    STAY = "stay"
    """Describes the stay within a section of the admission."""
    AFTER_ADMISSION = "after admission"
    """The rest of the note was written later; only an explicit list of medications on admission may follow."""


ADMISSION = tuple(Header)[:8]

_HISTORY = r"(?:history|hx|histories)"
_DRUGS = r"(?:medications?|meds?|medicines?)(?: list)?"
_EXAM = r"(?:physical exam(?:ination)?|exam(?:ination)?|physical|pe|p/e)"
_ANY_EXAM = r"(?:exam(?:ination)?s?|physical|pe|p/e|pex|vitals?|vital signs|vs|mse|labs?)"
_DISCHARGE = r"(?:discharge|d/c|dc)"
_LEAVING = (
    r"(?:med(?:ication|icine)?s?|diagnos[ei]s|dx|dispo(?:sition)?|condition|status|instructions?|plan|physical|exam\w*"
    r"|pe|vitals?|vs|labs?|laborator(?:y|ies)|data|day|mse|neuro\w*|mental|worksheet|planning|follow-?up)"
)
_FIELD = r"(?:medical|med|surgical|surg|psychiatric|psych|obstetric|ob|gyn|ob/gyn|oncologic|oncology|cardiac)"
_WARD = r"(?:hospital|hosp|[mstcnp]?icu|ccu|cvicu|nsicu|floor|ward|inpatient|intensive care|step-?down)"
_OF_STAY = rf"(?:{_WARD}|admission|hospitali[sz]ation|stay|transfer|surgery|operation)"
_BEFORE = rf"(?:on|at|upon|before|prior to|after|(?:day|time) of|{_WARD})"
_STATE = r"(?:active|acute|chronic|inactive|resolved|ongoing)"
_AND = r" ?(?:/|and|&|,) ?"
_TESTS = (
    r"(?:labs?|laborator(?:y|ies)|lab work|imaging|stud(?:y|ies)|radiology|micro|microbiology|patholog(?:y|ic|ical)|cultures?"
    r"|ekg|ecg|cxr|ct|cta|mri|mra|echo|tte|tee|x-?rays?|ultrasound|ua|urinalysis)"
)
_PRESENT = rf"(?:(?:{_HISTORY} of (?:the )?)?(?:present|presenting|current) (?:illness(?:es)?|complaints?)|h\.?p\.?i\.?)"

_STAY = (
    r"(?:[\w/&-]+ ){0,4}events(?: .*)?|overnight(?: .*)?|interval (?:history|course|changes?)",
    r"(?:subsequent(?:ly)?|post-?op(?:erative)?(?:ly)?|intra-?op(?:erative)?|peri-?op(?:erative)?)(?: .*)?",
    r"(?:overall )?assessment\b.*|summary|plan of care|a ?(?:[/&+]|and) ?p|impression ?(?:/|and|&|,) ?.*",
    r"plan ?(?:/|and|&) ?.*|(?:[\w/&-]+ ){0,3}(?:update|addendum)",
    rf"(?:while )?(?:in|during|after|since) (?:(?:the|this|her|his|their) )?{_OF_STAY}(?: .*)?",
    r"operative (?:course|findings|report|note)",
    r"(?:pod|hd|hod|hospital day|post-?op(?:erative)? day) ?#? ?(?:\d+|_+)(?: .*)?",
    rf"(?:[\w/&-]+ ){{0,4}}{_BEFORE} (?:[\w/-]+ ){{0,2}}(?:transfer|call-?out)(?: .*)?",
    rf"(?:transfer|call-?out) (?:[\w-]+ ){{0,2}}(?:{_ANY_EXAM}|{_DRUGS})|transfer(?:red)? to .*",
    rf"(?:[\w/&-]+ ){{0,3}}{_WARD} (?:course|summary|stay)\b.*|(?:[\w/&-]+ ){{0,4}}course\b.*",
)

# The first pattern that matches all words of a header (in lower case) decides.
_PATTERNS: tuple[tuple[Header, str], ...] = (
    (Header.OTHER, rf"{_DISCHARGE}(?: date| service| attending| unit)(?: .*)?|date of discharge|{_DISCHARGE} summary"),
    (Header.PART, rf"{_DISCHARGE} summary .*"),
    (Header.PRESENT_ILLNESS, rf"{_PRESENT} ?(?:/|and|&) ?(?:ed|er|emergency (?:room|department)) course"),
    (Header.STAY, rf".*{_PRESENT}.*\bcourse\b.*|.*\bcourse\b.*{_PRESENT}.*|{_HISTORY}{_AND}.*course.*"),
    # Discharge at the start, at the end or in the middle: "discharge labs", "exam at time of discharge".
    (Header.AFTER_ADMISSION, rf"{_DISCHARGE}(?: [a-z/&-]+)? {_LEAVING}(?: .*)?"),
    (Header.AFTER_ADMISSION, rf"(?:.* )?(?:on|at|upon|before|prior to|(?:day|time|date) of)(?: the)? {_DISCHARGE}(?: .*)?"),
    (Header.AFTER_ADMISSION, rf"(?:.* )?(?:adm(?:it|ission)?|arrival|{_ANY_EXAM}){_AND}{_DISCHARGE}(?: .*)?|pre-?discharge .*"),
    (Header.DOUBTFUL, _DISCHARGE),
    (Header.PART, rf"{_DISCHARGE} .*"),
    # The course of the stay and its outcome.
    (Header.AFTER_ADMISSION, r"(?:[\w/&-]+ ){0,3}(?:hospital|hosp|inpatient) (?:course|summary|stay)\b.*|bhc"),
    (Header.AFTER_ADMISSION, r"course (?:in|during|of) (?:the )?(?:hospital|hospitali[sz]ation|stay)(?: .*)?"),
    (Header.AFTER_ADMISSION, r"hospitali[sz]ation course|course by (?:problem|system).*"),
    (Header.AFTER_ADMISSION, r"brief (?:summary|course)|summary of (?:hospitali[sz]ation|admission|stay)"),
    (Header.AFTER_ADMISSION, r"transitional (?:issues|problems|care).*|follow-? ?up (?:instructions?|appointments?)"),
    (Header.AFTER_ADMISSION, r"(?:patient|home|wound care) instructions|new medications"),
    (Header.AFTER_ADMISSION, r"(?:.* )?(?:time|date|cause|day) of death|(?:.* )?(?:exam\w*|pe|vitals?) at death|death .*"),
    (Header.DOUBTFUL, r"(?:final|primary|principal|secondary|associated|post-?op(?:erative)?)(?: .*)? (?:diagnos[ei]s|dx)"),
    (Header.DOUBTFUL, r"(?:final|primary|principal|secondary|post-?op(?:erative)?) (?:diagnos[ei]s|dx).*|dispo(?:sition)?"),
    (Header.DOUBTFUL, rf"{_STATE}(?: ?(?:/|and|&) ?[a-z]+)? (?:medical )?(?:issues|problems)|follow-? ?up(?: plans?)?"),
    (Header.PART, r"follow-? ?up .*|medication changes|changes to (?:your |home )?medications|code status"),
    (Header.PART, rf"(?:interval|interim|final|last|latest|most recent|repeat|subsequent) (?:[\w-]+ ){{0,2}}{_ANY_EXAM}"),
    (Header.PART, r"medications? (?:changed|stopped|started)"),
    *((Header.STAY, pattern) for pattern in _STAY),
    (Header.MEDICATIONS, rf"{_DRUGS} (?:on|upon|at|prior to|before) (?:admission|admit)"),
    (Header.MEDICATIONS, rf"(?:admission|admitting|pre-? ?admission) {_DRUGS}"),
    (Header.CHIEF_COMPLAINT, r"(?:chief|presenting|primary) ?(?:complaints?|concerns?)(?: ?(?:/|and|&) ?.*)?|cc|c/c"),
    (Header.CHIEF_COMPLAINT, r"reason for (?:admission|hospitali[sz]ation)"),
    (Header.PRESENT_ILLNESS, rf"{_PRESENT}(?: ?/ ?.*)?|{_HISTORY} of p\.?i\.?|(?:cc|chief complaint) ?/ ?hpi"),
    (Header.FAMILY_HISTORY, rf"(?:family|fam)(?: (?:medical|psychiatric))? ?{_HISTORY}|fh|fhx|famhx"),
    (Header.SOCIAL_HISTORY, rf"(?:social|soc)(?:{_AND}(?:family|functional|occupational))? ?{_HISTORY}"),
    (Header.SOCIAL_HISTORY, rf"sh|shx|sochx|sh ?/ ?fh|(?:personal|substance (?:abuse|use)) {_HISTORY}"),
    (Header.PAST_HISTORY, rf"(?:other )?(?:past|prior|previous)(?: {_FIELD})?(?:{_AND}(?:past )?{_FIELD})* {_HISTORY}"),
    (Header.PAST_HISTORY, rf"past {_FIELD}|past {_FIELD} {_HISTORY}{_AND}.*|{_FIELD}(?:{_AND}{_FIELD})* {_HISTORY}"),
    (Header.PAST_HISTORY, rf"{_HISTORY}|pmhx?|pshx?|pmsh|pmhx? ?/ ?pshx?"),
    (Header.MEDICATIONS, rf"(?:home|out-?patient|current) {_DRUGS}|{_DRUGS}(?: at home)?"),
    (Header.ALLERGIES, r"(?:drug |medication |known )?allerg(?:y|ies)(?: list)?(?: ?/ ?.*)?|all|nkda"),
    (Header.ALLERGIES, r"(?:allergies and )?adverse (?:drug )?reactions?"),
    (Header.PHYSICAL_EXAM, rf"{_EXAM}(?: (?:on|at|upon) (?:the )?(?:admission|admit|arrival|presentation).*| on)?"),
    (Header.PHYSICAL_EXAM, rf"(?:admission|admitting|admit|initial) (?:{_EXAM}|vitals?|vs)"),
    (Header.OTHER, r"name|unit no|admission date|date of birth|sex|service|attending(?: md)?|facility"),
    (Header.OTHER, r"(?:major )?(?:surgical|invasive)(?: .*)? procedures?"),
    (Header.RESULTS, r"(?:(?:pertinent|relevant|significant|hospital|admission) )?results(?: .*)?|pertinent"),
    (Header.RESULTS, r"(?:lab|laboratory|imaging)(?: .*)? (?:results?|data|findings|studies|values)"),
    (Header.REPORT, r"(?:pertinent|relevant|significant) (?:.* )?(?:labs?|data|findings|studies|values|imaging)(?: .*)?"),
    (Header.REPORT, rf"(?:[\w-]+ ){{0,2}}{_TESTS}(?: .*)?|(?:[\w-]+ ){{1,2}}(?:results?|data|studies|values)"),
    (Header.REPORT, r"findings?|technique|comparisons?|indications?|recommendations?|clinical (?:history|information|data)"),
    (Header.REPORT, r"impression|plan|consults?|interventions?|wet read|preliminary report|final report|specimen.*"),
    (Header.PART, r"procedures?(?: performed)?|(?:past|prior|previous) procedures"),
    (Header.PART, r"(?:(?:admission|admitting|admit|working|pre-?op(?:erative)?) )?(?:diagnos[ei]s|dx)"),
)
_COMPILED = tuple((header, re.compile(pattern)) for header, pattern in _PATTERNS)
# Words that place a course, an event or a discharge before this admission. A ward of this hospital overrules _EARLIER.
_ELSEWHERE = re.compile(
    r"\b(?:outside|osh|another|past hospital|pre-?hospital|that time|prior(?! to)|previous|last|recent|referring|transferring"
    r"|rehab\w*|snf"
    r"|before admission|prior to (?:admission|arrival|presentation)|pre-?admission|leading (?:up )?to)\b"
)
_EARLIER = re.compile(
    r"\b(?:ed|er|emergency|triage|ems|clinic|outpatient|treatment|therapy|chemo\w*|oncologic\w*|onc|cancer|disease|clinical"
    r"|antibiotics?|steroid|radiation|time|initial)\b"
)
_PROSE = re.compile(r"\b(?:he|she|they|patient|pt|was|were|is|had|has|which|who|over|until|then|with)\b")
_OF_THE_STAY = re.compile(rf"\b{_WARD}\b")
_VITALS = re.compile(r"\b(?:vitals?|vital signs|vs)\b")
_ADMITTED = re.compile(r"\b(?:admission|admit|admitting|arrival|presentation|initial)\b")
_LATER_KINDS = frozenset({Header.AFTER_ADMISSION, Header.STAY, Header.DOUBTFUL})

# These are also words, units or diseases (pulmonary embolism): headers only in capitals and before a colon.
_AMBIGUOUS = frozenset({"cc", "c/c", "pe", "p/e", "sh", "fh", "all", "dx", "a/p", "psh", "dc", "d/c", "nkda"})
_WORDS_OF_THE_TEXT = frozenset({"history", "plan", "name", "sex", "all", "physical", "exam", "examination", "results"})
_WEAK = frozenset(
    {"history", "hx", "exam", "examination", "physical", "all", "nkda", "medications", "meds", "medicines", "medication"}
    | {"current medications", "current meds", "personal history", "pe", "p/e", "sh", "fh", "cc", "c/c"}
)

# The template of MIMIC-IV-Note, in its order, to complete headers from which a word was removed (`___`).
_TEMPLATE: tuple[tuple[Header, str], ...] = (
    (Header.CHIEF_COMPLAINT, "chief complaint"),
    (Header.OTHER, "major surgical or invasive procedure"),
    (Header.PRESENT_ILLNESS, "history of present illness"),
    (Header.PAST_HISTORY, "past medical history"),
    (Header.SOCIAL_HISTORY, "social history"),
    (Header.FAMILY_HISTORY, "family history"),
    (Header.PHYSICAL_EXAM, "physical exam"),
    (Header.RESULTS, "pertinent results"),
    (Header.AFTER_ADMISSION, "brief hospital course"),
    (Header.MEDICATIONS, "medications on admission"),
    (Header.AFTER_ADMISSION, "discharge medications"),
    (Header.AFTER_ADMISSION, "discharge disposition"),
    (Header.AFTER_ADMISSION, "discharge diagnosis"),
    (Header.AFTER_ADMISSION, "discharge condition"),
    (Header.AFTER_ADMISSION, "discharge instructions"),
    (Header.AFTER_ADMISSION, "followup instructions"),
)
TEMPLATE_NAMES = tuple(name for _, name in _TEMPLATE)
LATER_NAMES = tuple(name for kind, name in _TEMPLATE if kind is Header.AFTER_ADMISSION)

# Every header of the table contains one of these, so most lines need not be matched against the table.
_KEYWORD = re.compile(
    r"discharge|d/c|\bdc\b|course|summary|stay|bhc|diagnos|\bdx\b|issues|problems|follow|instruction|dispo|medic|\bmeds?\b"
    r"|exam|vital|\bvs\b|labs?|death|complaint|concern|\bcc\b|c/c|reason|illness|h\.?p\.?i|histor|hx\b|\bp\.?i\b|\b[sf]h\b"
    r"|\bpm?s?h\b|\bpast\b|\bprior\b|\bprevious\b|allerg|\ball\b|adverse|nkda|physical|\bp/?e\b|\bname\b|unit no|date"
    r"|service|attending|\bsex\b|procedure|result|pertinent|data|finding|stud|values|imaging|radiolog|micro|pathol|cultur"
    r"|\be[kc]g\b|cxr|\bct|\bmr[ia]|echo|\bt[te]e\b|x-?ray|ultrasound|\bua\b|urinal|technique|compar|indication|recommend"
    r"|clinical|wet read|report|specimen|assessment|\ba ?(?:[/&+]|and) ?p\b|\bplan\b|impression|code status|facility|consult"
    r"|intervention|event|overnight|interval|subsequent|-?op\b|operative|\bpod\b|\bho?d\b|\bday\b|transfer|call-?out|called"
    r"|\bmse\b|condition|admission|hospitali|\bm?icu\b|surgery|operation|update|addendum|chief"
)


@lru_cache(maxsize=16384)
def header(words: str, colon: bool) -> Header | None:
    """The meaning of a possible header; None if it is plain text.

    `colon`: whether a colon follows; without it, the words are alone on their line.
    """
    removed = "___" in words
    full = " ".join(words.lower().replace("_", " ").split())
    if _KEYWORD.search(full) is None:
        return None
    plain = re.sub(r" ?\([^)]*\)$", "", full).rstrip(" -.")
    if plain in _AMBIGUOUS and not (colon and words.strip().isupper()):
        return None
    if not colon and not _stands_alone(words, plain):
        return None
    if removed and (completed := _complete(words)) is not None:
        return completed
    kind = next((kind for kind, pattern in _COMPILED if pattern.fullmatch(plain)), None)
    return _placed(kind, full) if kind in _LATER_KINDS else _inside_brackets(kind, full)


def is_weak(words: str) -> bool:
    """Whether an admission header is so short that reports and lists of the stay also use it ("EXAMINATION:")."""
    return " ".join(words.lower().split()).rstrip(" -.") in _WEAK


def is_elsewhere(words: str) -> bool:
    """Whether words place what follows before this admission, or in another hospital."""
    return _ELSEWHERE.search(words.lower()) is not None


def is_of_ward(words: str) -> bool:
    """Whether words name a ward of the hospital."""
    return _OF_THE_STAY.search(words.lower()) is not None


def is_of_admission(words: str) -> bool:
    """Whether an exam's header names the admission."""
    return _ADMITTED.search(words.lower()) is not None


def _placed(kind: Header | None, full: str) -> Header | None:
    """The meaning of a course, event or transfer: PART of a history if it is of another place or time."""
    if _ELSEWHERE.search(full) and not full.startswith("brief"):
        return Header.PART
    if kind is Header.STAY:
        if _PROSE.search(full):
            return None
        if _VITALS.search(full) and "transfer" in full:
            return Header.REPORT  # the emergency room's last line
        if _EARLIER.search(full) and not _OF_THE_STAY.search(full):
            return Header.PART
        if full.startswith("reason for"):
            return Header.PART
    return kind


_LATER_IN_BRACKETS = re.compile(r"\([^)]*\b(?:discharge|d/c|transfer|call-?out|pod|hd) ?#? ?\d*[^)]*\)$")


def _inside_brackets(kind: Header | None, full: str) -> Header | None:
    return Header.AFTER_ADMISSION if kind is Header.PHYSICAL_EXAM and _LATER_IN_BRACKETS.search(full) else kind


def _complete(words: str) -> Header | None:
    """The meaning of the last template header that words with a removed part (`___`) may stand for."""
    parts = [" ".join(part.lower().split()) for part in re.split(r"_{3,}", words)]
    if not any(parts):
        return None
    pattern = re.compile(r" ?[\w /]+ ?".join(map(re.escape, parts)))
    kind = next((kind for kind, name in reversed(_TEMPLATE) if pattern.fullmatch(name)), None)
    # The removed part may be another hospital's name: `___ Hospital Course`.
    return Header.DOUBTFUL if kind is Header.AFTER_ADMISSION else kind


def _stands_alone(words: str, plain: str) -> bool:
    """Whether words alone on a line look like a header, not like wrapped text."""
    long = [word for word in words.split() if len(word) > 3]
    titled = all(word[0].isupper() or not word[0].isalpha() for word in long)
    return words[:1].isupper() and plain not in _WORDS_OF_THE_TEXT and (titled or len(words.split()) <= 3)
