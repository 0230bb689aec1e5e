"""Digests of the files that decide the test split's rewards beside run.yaml, for `deepicd compare`: they hold no text."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from deepicd import prompt
from deepicd.data.prompts import read_notes
from deepicd.evaluation import comparable
from deepicd.rewards import cohort_words
from deepicd.rewards.judge.rubric import load_rubric
from deepicd.rewards.own_terms import digests
from deepicd.run.context import Context


def reward_inputs(context: Context) -> dict[str, Any]:
    """SHA-256 of what the reward reads, by name: `notes` of the whole test split as the run's models see them, `words` of the
    training notes if the term `reasoning` counts, files of own terms and the judge's rubric by their field.
    """
    reward = context.run.spec.reward
    notes = sha256()
    for identity, note in sorted(read_notes(context.prompts("test"), prompt.of(context.run.spec.model.prompt))):
        notes.update(f"{identity} {sha256(note.encode()).hexdigest()}\n".encode())
    found = {comparable.NOTES: notes.hexdigest()}
    words = context.layout.stage("prepare").folder / cohort_words.FILE
    if reward.scores_reasoning and words.exists():
        found[comparable.WORDS] = sha256(words.read_bytes()).hexdigest()
    found |= {f"spec.reward.terms.{name}.file": digest for name, digest in digests(reward.terms or {}).items()}
    if reward.judge is not None:
        found["spec.reward.judge.rubric"] = load_rubric(reward.judge.rubric).digest
    return found
