"""Signs that an admission note holds text from after admission.

The whole note is searched for phrases of later text and, if the source is given, for text that only the source's later part
has. The search does not use the parser that cut the note (`deepicd.data.sections`), so that it can find that parser's errors.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_DISCHARGE = r"(?:discharge|d/c)"
# Words that place a stay, a course or a discharge before this admission.
_EARLIER = (
    r"\b(?:last|prior|previous(?:ly)?|recent(?:ly)?|outside|osh|ago|earlier|another hospital|other hospital|since|referring",
    r"(?:past|first|second|index) (?:hospital|admission|stay)|___ hospital)\b",
)
_EARLIER_BEFORE = (*_EARLIER, r"\b(?:rehab\w*|snf|months?|weeks?|years?)\b")
_EARLIER_AFTER = (
    *_EARLIER,
    r"\b(?:returns?|re-?presents?|presents|where (?:he|she)|on ___)|^ (?:on|in|from) (?:___|the\b|(?:19|20)\d\d)",
)
_OF_A_BODY = (
    r"\b(?:no|without|purulent|nasal|vaginal|wound|nipple|penile|urethral|ear|eye|bloody|serous|clear|yellow|or|drainage)",
)
_SECTIONS = r"(?:medication|med|diagnos|dx|dispo|condition|instruction|follow|exam|physical|pe\b|vital|vs\b|labs?\b|status)\w*"
_EXAM = r"(?:exam\w*|physical(?: exam\w*)?|vitals?|vs|mse|labs?)"
_HEADER = (
    r"(?:brief |summary of )?hospital course(?! (?:at|in) )|transitional issues|follow-? ?up instructions",
    rf"{_DISCHARGE} {_SECTIONS}|{_EXAM} (?:on|at|upon|prior to|before|at time of) (?:the )?{_DISCHARGE}",
    r"(?:final|principal) diagnos[ei]s",
)
_CERTAIN: dict[str, tuple[str, ...]] = {
    "hospital course": (
        r"\bbrief hospital course\b|\b(?:during|throughout) this (?:hospital|admission|stay|icu)",
        r"\bover the (?:rest|remainder|course) of (?:this|the|her|his) (?:hospital|admission|stay)",
        r"\bduring (?:her|his) (?:stay|icu stay|hospital stay)\b|\b(?:icu|micu|sicu|ccu) (?:course|stay)\b",
        r"\bwhile (?:in[- ]?house|hospitalized here)\b|\bcalled out (?:of|to|from)\b",
        r"\btransferred (?:out of|(?:back )?to the floor)",
        r"\btransitional issues?\b|\bissues for follow-? ?up\b|\bruled out for\b|\btolerated (?:the|a) procedure\b",
        r"\btaken (?:back )?to the (?:or\b|operating room|cath lab)",
        r"\bwas (?:successfully )?extubated\b",
        r"\bweaned (?:to room air|off (?:of )?(?:pressors?|oxygen|o2|sedation|the vent|bipap))",
        r"\bwas (?:transitioned to|diuresed|dialyzed|transfused)\b",
        r"\b(?:symptoms|condition|mental status) (?:resolved|improved|normalized) (?:on|after|during|by)|\bdiet was advanced\b",
        r"\bremained (?:afebrile|stable|hemodynamically|asymptomatic)\b|\bblood cultures (?:grew|remained|returned)\b",
    ),
    "hospital day": (r"\bho?d ?# ?\d|\bho?d ?\d{1,2}\b(?!-)|\bhospital day\b|\bday of (?:hospitali[sz]ation|stay)\b",),
    "after operation": (
        r"\bpod ?#? ?\d|\bpost[- ]?op(?:erative)? day\b|\bpost[- ]?op(?:erative)? course\b|\bpost[- ]?operatively\b",
        r"\bpost[- ]?op(?:erative)? (?:exam|check|diagnosis)\b|\bimmediate post[- ]?op",
    ),
    "letter": (
        r"\bdear (?:mr|ms|mrs|dr|miss|___)\b|\b(?:a|our) pleasure (?:taking|caring|to care|to take|participating)",
        r"\byou were (?:admitted|hospitali[sz]ed|found|treated|seen|given|started|in the hospital|discharged|diagnosed)\b",
        r"\bplease (?:take|call|follow|return|continue|keep|weigh|do not|stop|make)\b",
        r"\bfollow-? ?up with (?:your|dr|pcp|us)\b",
        r"\byour (?:pcp|primary care|medications?|doctor|appointment|stay|hospitali[sz]ation)\b|\bwhile you were\b",
        r"\bwe (?:changed|stopped|started|gave|treated|found) (?:your|you)\b",
        r"\b(?:brought you|you (?:came|presented)) to the (?:hospital|emergency)\b",
    ),
    "death": (
        r"\btime of death\b|\bpronounced (?:dead|deceased)\b|\b(?:patient|he|she|pt) (?:expired|passed away|was pronounced)\b",
        r"\bmade (?:cmo|comfort measures)\b|\bcomfort measures only\b",
    ),
    "condition at discharge": (
        r"\bactivity status: ?(?:ambulatory|bed|out of bed)",
        r"\bmental status: ?clear and coherent\b|\bof consciousness: ?alert and inter",
        r"\bdischarged (?:home |to [\w ]{2,30} )?in (?:good|stable|fair|improved)",
        r"\b(?:ready|stable|cleared|safe) for discharge\b",
        r"\bpending (?:at )?discharge\b|\bdischarge (?:planning|paperwork|disposition|condition|instructions?)\b",
        r"\b(?:day|date|morning) of (?:discharge|d/c)\b|\bpre-?discharge\b",
    ),
}
# These may also describe an earlier stay: the words around them decide.
_DOUBTFUL: dict[str, tuple[str, ...]] = {
    "discharge": (
        rf"\b(?:on|at|upon|prior to|before|by|until|after|time of|for) (?:the )?(?:time of )?{_DISCHARGE}\b",
        rf"\b{_DISCHARGE} to (?:home|rehab|snf|ltac|hospice|a )|\bsent home on\b",
        rf"\b{_DISCHARGE} (?:exam\w*|physical|vitals?|labs?|medications?|meds|diagnos[ei]s|weight|wt|pe|vs|cr|hgb)\b",
        r"\b(?:was|were|being|be|is) (?:then |subsequently |safely )?(?:discharged|d/c'?ed)\b",
        r"\bplan(?:ned)? (?:for|to) discharge\b",
        rf"^[ \t(\[=*]*{_DISCHARGE}[ \t)\]=*]*:(?! *(?:none|no|scant|absent|minimal|clear|purulent)\b)",
        rf"^[ \t]*[=*(\[]+{_DISCHARGE}[=*)\]]+[ \t]*$|^discharge[ \t]*$",
    ),
    "hospital course": (
        r"(?<!pre-)\bhospital course\b|\bhospitali[sz]ation (?:was|course)\b|\bhospital stay\b",
        r"\bcourse (?:was )?complicated by\b|\bduring (?:the|her|his) hospitali[sz]ation\b",
    ),
}
KINDS = ("header", *_CERTAIN, "discharge", "title", "passage")


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    """One pattern for lower-case text: several times as fast as a pattern that ignores case."""
    return re.compile("|".join(patterns), re.MULTILINE)


_PATTERNS = {kind: _any(patterns) for kind, patterns in _CERTAIN.items()}
_DOUBTFUL_PATTERNS = {kind: _any(patterns) for kind, patterns in _DOUBTFUL.items()}
_HEADER_PATTERN = _any((rf"(?:^|(?<=[.;:] )|(?<=  ))[ \t*#=>~|(\-]*(?:{'|'.join(_HEADER)})\b[^\n]{{0,40}}(?::|$)",))
_BEFORE_PATTERN, _AFTER_PATTERN = _any(_EARLIER_BEFORE), _any(_EARLIER_AFTER)
_OF_A_BODY_PATTERN = _any((_OF_A_BODY[0] + r"[ ,/]+\Z",))
_NEAR = 160
_SENTENCE = re.compile(r"[.;!?]\s|\n(?=[ \t]*[A-Z(\[*=])")
_WORDS = re.compile(r"[a-z0-9][a-z0-9'/.-]*[a-z0-9]|[a-z0-9]")
_PASSAGE = 5
# The first of these patterns that a source matches starts its later part. Lower-case words within a line may describe an
# earlier stay, so they do not count.
_LATER_PARTS = tuple(
    map(
        re.compile,
        (
            r"(?im:^[ \t*#=]*brief hospital course\b)",
            r"(?im:^[ \t*#=]*(?:summary of )?hospital course\b)",
            r"Brief Hospital Course ?:",
            r"Discharge (?:Medications|Disposition|Diagnos[ei]s|Condition|Instructions) ?:",
            r"(?im:^[ \t*#=]*discharge (?:medications|disposition|diagnos[ei]s|condition|instructions)\b)",
        ),
    )
)
_COMMON = frozenset(
    {"unspecified", "other", "without", "with", "specified", "classified", "elsewhere", "initial", "subsequent", "encounter"}
    | {"type", "site", "disease", "disorder", "disorders", "chronic", "acute", "left", "right", "from", "syndrome", "primary"}
    | {"secondary", "complication", "complications", "status"}
)


def signs(note: str) -> set[str]:
    """The kinds of later text (of `KINDS`) that a note shows signs of."""
    lowered = note.lower()
    if len(lowered) != len(note):  # a letter of another script became two characters
        note = lowered
    found = {kind for kind, pattern in _PATTERNS.items() if pattern.search(lowered)}
    for kind, pattern in _DOUBTFUL_PATTERNS.items():
        if any(_of_this_stay(note, hit) for hit in pattern.finditer(lowered)):
            found.add(kind)
    if _HEADER_PATTERN.search(lowered):
        found.add("header")
    return found


def signs_of_source(note: str, title: str, source: str) -> set[str]:
    """The kinds of text that a note shares with the later part of its source, and that the rest of the source does not have.

    `title`: a word of the gold code's title. `passage`: five words in a row. Medications on admission are ignored, since real
    summaries have them in their later part.
    """
    mark = next((found for pattern in _LATER_PARTS if (found := pattern.search(source))), None)
    if mark is None:
        return set()
    words = _words(re.sub(r"(?ms)^medications on admission: .*?(?=^[a-z ]+: |\Z)", "", note.lower()))
    earlier, later = _words(source[: mark.start()].lower()), _words(source[mark.start() :].lower())
    kinds: set[str] = set()
    named = {word for word in _words(title.lower()) if len(word) > 3} - _COMMON - set(earlier)
    if named & set(words) & set(later):
        kinds.add("title")
    own = set(_runs(words)) - set(_runs(earlier))
    if own and not own.isdisjoint(_runs(later)):
        kinds.add("passage")
    return kinds


def _of_this_stay(note: str, hit: re.Match[str]) -> bool:
    """Whether nothing in the same sentence places the words before this admission or at a wound."""
    before = _SENTENCE.split(note[max(0, hit.start() - _NEAR) : hit.start()])[-1].lower()
    after = _SENTENCE.split(note[hit.end() : hit.end() + _NEAR])[0].lower()
    return not (_OF_A_BODY_PATTERN.search(before) or _BEFORE_PATTERN.search(before) or _AFTER_PATTERN.search(after))


def _words(text: str) -> list[str]:
    return _WORDS.findall(text)


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return zip(*(words[place:] for place in range(_PASSAGE)), strict=False)
