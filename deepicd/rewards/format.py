"""The term `format`."""

from __future__ import annotations

from deepicd.completion import NOT_BARE, Completion, Fault

_SOMETHING_ELSE = frozenset({Fault.TEXT_OUTSIDE, Fault.DIAGNOSIS_IN_TRACE, Fault.TRUNCATED})


def format_term(completion: Completion) -> float:
    """The share of the asked-for form that is there; nothing without an answer that ICD-10-CM has.

        format = [one code is named, and exists] · ([it is written once and bare] + [there is a trace] + [nothing else]) / 3

    * "Bare": nothing but the code is in its tag. A decorated code that is right has the other terms, so it earns less than
      a clean one and more than nonsense.
    * "Nothing else": no text outside the two parts, no diagnosis tag in the trace, and no end at the token limit.
    * A header exists: it is paid. An invented code is not: otherwise the form alone would pay any letters and digits.
    """
    if completion.code is None or Fault.UNKNOWN_CODE in completion.faults:
        return 0.0
    bare = NOT_BARE.isdisjoint(completion.faults)
    has_trace = Fault.NO_TRACE not in completion.faults
    nothing_else = _SOMETHING_ELSE.isdisjoint(completion.faults)
    return (bare + has_trace + nothing_else) / 3
