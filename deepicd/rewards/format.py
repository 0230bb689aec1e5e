"""The term `format`."""

from __future__ import annotations

from deepicd.completion import Completion, Fault

_NOTHING_ELSE = (Fault.TEXT_OUTSIDE, Fault.TRUNCATED)


def format_term(completion: Completion) -> float:
    """The share of the asked-for form that is there; nothing without an answer.

        format = [exactly one answer, in the form of a code] · (1 + [there is a trace] + [nothing else is there]) / 3

    "Nothing else": neither text outside the two parts nor a generation that ran into its token limit.
    Whether the code exists is left to the terms that know the table.
    """
    if completion.code is None:
        return 0.0
    has_trace = Fault.NO_TRACE not in completion.faults
    nothing_else = not any(fault in completion.faults for fault in _NOTHING_ELSE)
    return (1 + has_trace + nothing_else) / 3
