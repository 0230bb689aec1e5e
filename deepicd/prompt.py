"""The one prompt that SFT, GRPO, evaluation and prediction share."""

from __future__ import annotations

SYSTEM = (
    "You are given a hospital admission note. Reason about it inside <think> </think>, then give the one "
    "ICD-10-CM code of the principal diagnosis, without its dot, inside <diagnosis> </diagnosis>."
)

THINK_OPENING = "<think>"


def messages(note: str) -> list[dict[str, str]]:
    """Chat messages for one admission note: the instruction, then the note alone."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": note}]


def answer(trace: str, code: str) -> str:
    """The assistant's turn that SFT teaches."""
    return f"{THINK_OPENING}{trace}</think>\n<diagnosis>{code}</diagnosis>"
