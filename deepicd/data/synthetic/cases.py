"""Cases: the disease of one admission, and which evidence of it the note contains."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from deepicd.data.synthetic.diseases import Disease
from deepicd.data.synthetic.lexicon import lexicon

# Chances that evidence in a note is missing or misleading. They limit the accuracy that any model can reach.
VAGUE_COMPLAINT = 0.25
FINDING_DROPPED = 0.35
FINDING_OF_ANOTHER = 0.25
SIGN_DROPPED = 0.2
STRAY_FINDING = 0.3

_TRACE_WORDS = (15, 30)


@dataclass(frozen=True, slots=True)
class Case:
    """Parts of one note. `stray`: a finding of another disease; `other`: further diagnoses."""

    disease: Disease
    complaint: str
    findings: tuple[str, ...]
    signs: tuple[str, ...]
    stray: str | None
    denied: str
    history: tuple[str, ...]
    other: tuple[Disease, ...]
    duration: str
    context: str


def draw(disease: Disease, diseases: Sequence[Disease], rng: random.Random) -> Case:
    """Draw a case of a disease: its findings with gaps, and misleading findings of other diseases."""
    fill = lexicon().fill
    shown = disease.presentation
    vague = rng.random() < VAGUE_COMPLAINT
    complaint = rng.choice(fill["vague"] if vague else shown.complaint)
    neighbours = [one for one in diseases if one.chapter == disease.chapter]
    findings = []
    for finding in rng.sample(shown.finding, min(3, len(shown.finding))):
        if rng.random() < FINDING_OF_ANOTHER:  # most confusions are within a chapter
            findings.append(rng.choice(rng.choice(neighbours).presentation.finding))
        elif rng.random() > FINDING_DROPPED:
            findings.append(finding)
    signs = [rng.choice(ways) for ways in disease.signs if rng.random() > SIGN_DROPPED]
    if not findings and not signs:
        findings = [rng.choice(shown.finding)]
    stray = rng.choice(rng.choice(diseases).presentation.finding) if rng.random() < STRAY_FINDING else None
    other = tuple(rng.choice(diseases) for _ in range(rng.randint(0, 2)))
    return Case(
        disease=disease,
        complaint=complaint,
        findings=tuple(dict.fromkeys(findings)),
        signs=tuple(signs),
        stray=stray if stray not in findings else None,
        denied=_denied(disease, diseases, rng),
        history=tuple(rng.sample(fill["history"], rng.randint(1, 3))),
        other=tuple(one for one in other if one.code != disease.code),
        duration=rng.choice(fill["duration"]),
        context=rng.choice(fill["context"]),
    )


def trace(case: Case, rng: random.Random) -> str:
    """Reasoning in 15 to 30 words, from the content of the note to the name of the diagnosis, without its code."""
    opening = rng.choice(("Presents with", "Came in with", "Complaint is"))
    inference = rng.choice(("This pattern fits", "These features support", "Such features argue for"))
    closing = f"{inference} {_plain(case.disease.description)}."
    seen = [*case.findings[:2], *case.signs[:3]]
    while True:
        text = f"{opening} {case.complaint}; note shows {', '.join(seen)}. {closing}"
        words = len(text.split())
        if words <= _TRACE_WORDS[1] or len(seen) == 1:
            break
        seen.pop(0)
    if words < _TRACE_WORDS[0]:
        text = text.replace(closing, f"No {case.denied}; the past history does not explain it. {closing}")
    return text


def _plain(description: str) -> str:
    return description[:1].lower() + description[1:] if description[1:2].islower() else description


def _denied(disease: Disease, diseases: Sequence[Disease], rng: random.Random) -> str:
    denied = rng.choice(rng.choice(diseases).presentation.complaint)
    return denied if denied not in disease.presentation.complaint else "trauma"
