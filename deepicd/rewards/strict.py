"""The terms of the preset `strict`: few, large steps, as in the reward of DRG-Sapphire.

    right       1 if the completion has the required form, without a fault, and its code is the gold code
    no_answer   1 if it has both parts but does not name exactly one existing code: words, several codes, an invented code
    no_form     1 if a part is missing: no trace, or no diagnosis

At most one of the three is 1. All are 0 for a wrong code, and for the right code with a fault of form, such as bold type: it
earns less than a clean answer and more than no answer.
"""

from __future__ import annotations

from deepicd.completion import Completion, Fault

_NO_FORM = frozenset({Fault.NO_TRACE, Fault.NO_DIAGNOSIS})


def strict(completion: Completion, gold: str) -> dict[str, float]:
    """Value of each term, 0 or 1.

    Args:
        completion: parsed with the gold code in `local` if it is a local code.
        gold: the right code, normalised.
    """
    no_form = not _NO_FORM.isdisjoint(completion.faults)
    no_answer = not no_form and (completion.code is None or Fault.UNKNOWN_CODE in completion.faults)
    right = completion.well_formed and completion.code == gold
    return {"right": float(right), "no_answer": float(no_answer), "no_form": float(no_form)}
