"""The one parser of completions, shared by reward, evaluation and prediction.

The required form is `<think>trace</think> <diagnosis>code</diagnosis>`, with any white space around the tags and nothing
else. Tags are in lower case, as in the prompt; any other spelling is plain text. A bare code may have the dot after its third
character; case and surrounding space do not matter. A code written in any other way is still read if it is the only one
(`written_codes`), but counts as a fault.

The parser reads from left to right in linear time on any text: it searches and splits on fixed strings, and looks at each
answer once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

from deepicd import icd10
from deepicd.errors import UserError
from deepicd.written_codes import written_codes

_THINK, _THINK_END = "<think>", "</think>"
_DIAGNOSIS, _DIAGNOSIS_END = "<diagnosis>", "</diagnosis>"
# A letter, two characters of which at least one is a digit (M51, M1A, C7A, QA0), and up to four more.
_CODE = re.compile(r"[A-Z](?:[0-9][0-9A-Z]|[A-Z][0-9])[0-9A-Z]{0,4}")
_WORD = re.compile(r"[^\W_]")
_BARE_CODE = re.compile(r"[A-Za-z](?:[0-9][0-9A-Za-z]|[A-Za-z][0-9])(?:\.?[0-9A-Za-z]{1,4})?")

TRACE_WARNING = (
    "A convincing trace can be wrong: it is text that the model learned to write, not an explanation of how the answer came "
    "about. Check it against its note before you use it for anything."
)
"""For every place that shows traces."""


class Fault(StrEnum):
    """What is wrong with a completion."""

    NO_TRACE = "no_trace"
    """No closed `<think>…</think>` before the diagnosis, or an empty one."""
    NO_DIAGNOSIS = "no_diagnosis"
    """No closed `<diagnosis>…</diagnosis>` outside the trace."""
    DIAGNOSIS_IN_TRACE = "diagnosis_in_trace"
    """The trace has a diagnosis tag in it. Its content is not an answer."""
    SEVERAL_DIAGNOSES = "several_diagnoses"
    """Several different diagnoses, in one tag or in several. None of them is read."""
    REPEATED_DIAGNOSIS = "repeated_diagnosis"
    """More than one diagnosis tag, but only one code. It is read."""
    TRUNCATED = "truncated"
    """The generator stopped at its token limit."""
    TEXT_OUTSIDE = "text_outside"
    """Text before, between or after the two parts."""
    DECORATED = "decorated"
    """The code is not bare: the tag also has signs, words, space or misplaced dots. The code is read."""
    NOT_A_CODE = "not_a_code"
    """The diagnosis names no code."""
    UNKNOWN_CODE = "unknown_code"
    """The diagnosis has the form of a code, but no release of ICD-10-CM has it."""
    NOT_BILLABLE = "not_billable"
    """The code is a header in every release that has it, never billable."""


CODE_FAULTS = frozenset({Fault.UNKNOWN_CODE, Fault.NOT_BILLABLE})
"""Faults of the answer; all others are faults of the completion's form."""

NOT_BARE = frozenset({Fault.REPEATED_DIAGNOSIS, Fault.DECORATED})
"""Faults of form that leave the code readable."""


_ORDER = {fault: place for place, fault in enumerate(Fault)}


@dataclass(frozen=True, slots=True)
class Completion:
    """A parsed completion."""

    trace: str | None
    """The text inside `<think>`, stripped; None if missing or empty."""
    code: str | None
    """The answer, normalised, if exactly one code is named; None otherwise. The code need not exist."""
    faults: tuple[Fault, ...]
    """All faults, in the order of `Fault`."""

    @property
    def well_formed(self) -> bool:
        """Whether the form is right; the code may still be wrong."""
        return CODE_FAULTS.issuperset(self.faults)


def parse(text: str, *, opened_think: bool = True, truncated: bool = False, local: Collection[str] = ()) -> Completion:
    """Parse a model's completion.

    Args:
        text: the completion, of any length and content.
        opened_think: whether the prompt ended in an opened `<think>`, so that the completion lacks it. If the completion
            opens it again, the second opening is ignored. The same default as `model.openedThink` in run.yaml.
        truncated: whether the generator stopped at its token limit.
        local: the hospital's own codes, normalised; no release needs to have them.

    Raises:
        UserError: `text` is not a str.

    Example:
        >>> from deepicd import parse
        >>> found = parse("<think>Weak toe extension fits L5.</think> The answer: <diagnosis>m51.16</diagnosis>")
        >>> found.code, found.trace
        ('M5116', 'Weak toe extension fits L5.')
        >>> [str(fault) for fault in found.faults], found.well_formed
        (['text_outside'], False)
    """
    if not isinstance(text, str):
        raise UserError(f"text: is a {type(text).__name__}: give a str")
    found: set[Fault] = {Fault.TRUNCATED} if truncated else set()
    trace, rest = _split_trace(text, opened_think=opened_think)
    if not trace:
        found.add(Fault.NO_TRACE)
    elif _DIAGNOSIS in trace or _DIAGNOSIS_END in trace:
        found.add(Fault.DIAGNOSIS_IN_TRACE)
    answers, text_outside = _split_diagnoses(rest)
    if text_outside:
        found.add(Fault.TEXT_OUTSIDE)
    code, faults = _read(answers)
    found.update(faults)
    if code is not None and (fault := fault_of(code, local=code in local)) is not None:
        found.add(fault)
    return Completion(trace or None, code, tuple(sorted(found, key=_ORDER.__getitem__)))


def fault_of(code: str, *, local: bool = False) -> Fault | None:
    """Why a code cannot be right; None if it can, that is, if it was billable in any release of ICD-10-CM.

    Cohort, reward, metrics and prediction all use this function.

    Args:
        code: normalised.
        local: whether the hospital's own dictionary has the code. Then it can be right although no release has it, as long
            as it has the form of a code, so that an answer can name it.
    """
    if icd10.is_billable(code):
        return None
    if icd10.is_valid(code):
        return Fault.NOT_BILLABLE
    return None if local and as_code(code) == code else Fault.UNKNOWN_CODE


def as_code(text: str) -> str | None:
    """The normalised code if the text has the form of a code, else None. The code need not exist."""
    code = icd10.normalise(text)
    # Some non-ASCII letters become ASCII in upper case, so the text itself must be ASCII.
    return code if text.strip().isascii() and _CODE.fullmatch(code) else None


def _read(answers: Sequence[str]) -> tuple[str | None, set[Fault]]:
    """The one code of all diagnosis tags (None unless there is exactly one), and their faults."""
    if not answers:
        return None, {Fault.NO_DIAGNOSIS}
    if len(answers) == 1 and _BARE_CODE.fullmatch(answers[0]):  # nearly every answer of a trained model
        return icd10.normalise(answers[0]), set()
    # A tag without a letter or digit names nothing.
    named = [answer for answer in dict.fromkeys(map(str.strip, answers)) if _WORD.search(answer)]
    codes: set[str] = set()
    found = {Fault.REPEATED_DIAGNOSIS} if len(answers) > 1 else set()
    for answer in named:
        if _BARE_CODE.fullmatch(answer):
            codes.add(icd10.normalise(answer))
            continue
        written = written_codes(answer)
        found.add(Fault.DECORATED)
        if len(written) > 1 or (not written and len(named) > 1):  # words beside a code are another diagnosis
            return None, {Fault.SEVERAL_DIAGNOSES}
        codes.update(written)
    if len(codes) > 1:
        return None, {Fault.SEVERAL_DIAGNOSES}
    return (codes.pop(), found) if codes else (None, {Fault.NOT_A_CODE})


def _split_trace(text: str, *, opened_think: bool) -> tuple[str | None, str]:
    """The trace (None if it is never closed) and the text outside it."""
    if opened_think:
        begin = 0
        start = len(text) - len(text.lstrip())
        start = start + len(_THINK) if text.startswith(_THINK, start) else 0
    else:
        begin = text.find(_THINK)
        diagnosis = text.find(_DIAGNOSIS)
        if begin < 0 or 0 <= diagnosis < begin:  # reasoning after the answer did not lead to it
            return None, text
        start = begin + len(_THINK)
    end = text.find(_THINK_END, start)
    if end < 0:
        # A trace that is never closed ends where the diagnosis starts. It counts as a missing trace, not as text outside.
        diagnosis = text.find(_DIAGNOSIS, start)
        return None, text[:begin] + (text[diagnosis:] if diagnosis >= 0 else "")
    # The line break keeps the two sides from joining into a tag.
    return text[start:end].strip(), text[:begin] + "\n" + text[end + len(_THINK_END) :]


def _split_diagnoses(text: str) -> tuple[list[str], bool]:
    """The content of each `<diagnosis>…</diagnosis>` and whether there is any other text.

    An answer starts at the last opening tag before its closing tag. Tags without a partner are text.
    """
    *closed, last = text.split(_DIAGNOSIS_END)
    answers = []
    text_outside = False
    for piece in closed:
        before, opening, answer = piece.rpartition(_DIAGNOSIS)
        if opening:
            answers.append(answer)
        text_outside = text_outside or not opening or bool(before.strip())
    if not answers:
        # An answer that is never closed counts as a missing diagnosis, not as text outside.
        last = last.partition(_DIAGNOSIS)[0]
    return answers, text_outside or bool(last.strip())
