"""The term `format`."""

from __future__ import annotations

from deepicd.completion import NOT_BARE, Completion, Fault

_SOMETHING_ELSE = frozenset({Fault.TEXT_OUTSIDE, Fault.DIAGNOSIS_IN_TRACE, Fault.TRUNCATED})


def format_term(completion: Completion) -> float:
    """The share of the required form that a completion has; 0 without an answer that ICD-10-CM has.

        format = [one code is named, and exists] · ([it is written once and bare] + [there is a trace] + [nothing else]) / 3

    * "Bare": the tag has nothing but the code. A right code that is decorated still earns the other terms: less than a clean
      one, more than nonsense.
    * "Nothing else": no text outside the two parts, no diagnosis tag in the trace, and no stop at the token limit.
    * A header exists, so it is paid. An invented code is not: otherwise any letters and digits would be paid for their form.
    """
    if completion.code is None or Fault.UNKNOWN_CODE in completion.faults:
        return 0.0
    bare = NOT_BARE.isdisjoint(completion.faults)
    has_trace = Fault.NO_TRACE not in completion.faults
    nothing_else = _SOMETHING_ELSE.isdisjoint(completion.faults)
    return (bare + has_trace + nothing_else) / 3
