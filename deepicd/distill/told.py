"""The rule `told`: a trace that shows that its writer was given the answer, or speaks about the task.

Phrases count anywhere. Words of the task, such as `code` or `instructions`, count before the last sentence, which may say what
the reasoning codes to; the teacher is asked to do without them. `full code` does not count, nor do other words than `code` that
the note has itself.
"""

from __future__ import annotations

import re

from deepicd.distill.findings import sentences

_ICD = r"icd(?:[- ]?10)?(?:[- ]cm)?"
_ANSWER = rf"(?:answer|code|diagnosis|label|title|description|solution|{_ICD}(?: code)?)"
_GIVEN = (
    r"(?:given|provided|supplied|stated|specified|assigned|target|gold(?:[- ]standard)?|correct|right|true|reference|known|"
    r"expected|actual)"
)
_HANDED = (
    r"(?:handed|shown|shared|decided|fixed|given|provided|supplied|assigned|known|told|stated|specified|revealed|concealed)"
)
_ME = r"(?:i was|we were|i have been|we have been)"
_SAYS = r"(?:is|was|being|reads|states|says|confirms?|matches)"
_HIDE = (
    r"(?:mention|reveal|conceal|hide|pretend|justify|arrive at|reach|reference|disclose|avoid|output|produce|write|name|state)"
)
_PHRASES = (
    rf"\b(?:the|this|our|my) {_GIVEN} (?:\w+ )?{_ANSWER}\b",
    rf"\b(?:the|this) {_ANSWER} (?:given|provided|supplied|stated|mentions?|specifies|includes?|says)\b",
    r"\bofficial (?:title|code|description|diagnosis|name)\b",
    rf"\b{_ANSWER} (?:is|was|has been|{_ME}|that (?:is|was|{_ME})) (?:already )?{_HANDED}\b",
    rf"\b(?:i|we) (?:am|are|was|were|have been|know|already know)\b[^.]{{0,40}}\b(?:told|given|asked|instructed|{_ANSWER})\b",
    rf"\b(?:i|we) (?:must|need to|have to|should|will|can|cannot|can't|won't) (?:not )?{_HIDE}\b",
    r"\b(?:without|avoid(?:ing)?|not) (?:mentioning|revealing|naming|disclosing|stating|giving away|hint(?:ing)? at)\b",
    r"\b(?:conceal(?:ed|ing|s)?|pretend(?:ed|ing|s)?|work(?:ing|ed)? backwards?|reverse[- ]engineer\w*|ground truth|oracle)\b",
    r"\b(?:the|these|this|your|my|per|as per) (?:instructions?|prompt|task|request|user|system message|assignment)\b",
    r"\bas (?:instructed|requested|asked|an ai|a language model|given above|provided above)\b",
    rf"\b(?:final|discharge|coded|principal|official|{_ICD}) (?:diagnosis|code|title|description) {_SAYS}\b",
    r"\b(?:coded|billed|recorded|documented|labell?ed) (?:at|on|upon) discharge\b",
    rf"\b(?:match(?:es|ing)?|lead(?:s|ing)? to|justif(?:y|ies|ying)|support(?:s|ing)?|align(?:s|ing)? with) the {_GIVEN}\b",
    r"\bhint\b|\bcheat",
)
_TOLD = re.compile("|".join(_PHRASES), re.IGNORECASE)
_CODE = re.compile(
    r"\b(?<!full )(?<!no )(codes?|coded|coding|coder|icd)\b(?! (?:status|stroke|blue|sepsis|stemi))", re.IGNORECASE
)
_TASK = re.compile(
    r"\b(title|label|labels|labelled|labeled|answer|answers|instructions?|instructed|the prompt|"
    r"the user|the task|system message|conceal\w*|reveal\w*|disclos\w*|ground truth|solution|hindsight|outcome)\b",
    re.IGNORECASE,
)


def shows_that_it_was_told(trace: str, note: str) -> bool:
    """Whether a trace has a phrase of one who was given the answer, or a word of the task."""
    if _TOLD.search(trace) is not None:
        return True
    before = " ".join(sentences(trace)[:-1])
    words = {found.lower() for found in _TASK.findall(before)}
    return _CODE.search(before) is not None or not words <= {found.lower() for found in _TASK.findall(note)}
