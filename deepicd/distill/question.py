"""The question to the teacher about one admission."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files

import yaml

from deepicd import icd10
from deepicd.prompt import Prompt

_TAG = re.compile(r"<(?=[|/A-Za-z_])|\[(?=/?[A-Z_]{3,}\])")
"""The start of a tag. It is broken up in a note, so that the note can close neither its own tag nor a turn of the template."""


@cache
def prompts() -> Mapping[str, str]:
    """`version`, and the texts `oracle` and `open`."""
    found: dict[str, str] = yaml.safe_load(files("deepicd.distill").joinpath("prompts.yaml").read_text(encoding="utf-8"))
    return found


def prompts_digest() -> str:
    """SHA-256 of the texts; a changed text is a changed input."""
    return sha256(json.dumps(dict(prompts()), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How one answer is sampled."""

    temperature: float
    max_tokens: int
    seed: int


@dataclass(frozen=True, slots=True)
class Question:
    """One chat for the teacher."""

    messages: Sequence[Mapping[str, str]]
    sampling: Sampling

    def fields(self, model: str) -> dict[str, object]:
        """The request."""
        drawn = self.sampling
        return {
            "model": model,
            "messages": list(self.messages),
            "temperature": drawn.temperature,
            "max_tokens": drawn.max_tokens,
            "seed": drawn.seed,
        }

    def key(self, model: str) -> str:
        """Identity of the answer: the model, by its name or folder, and everything that it is asked."""
        return sha256(json.dumps(self.fields(model), sort_keys=True).encode()).hexdigest()


def messages(note: str, code: str, title: str, *, oracle: bool, own: Prompt | None) -> Sequence[Mapping[str, str]]:
    """The chat about a note.

    Args:
        note: the admission note.
        code: the gold code, without its dot.
        title: its title; empty if it has none.
        oracle: whether the teacher gets code and title.
        own: the prompt that the teacher was trained with, if that prompt is used.
    """
    if own is not None:
        return own.messages(note)
    text = prompts()["oracle" if oracle else "open"]
    if oracle:  # before the note, which may contain anything
        text = text.replace("{code}", icd10.display(code)).replace("{title}", title)
    before, _, after = text.partition("{note}")
    return [{"role": "user", "content": before + _TAG.sub(lambda found: found[0] + " ", note) + after}]


def seed_of(run_seed: int, admission: str, sample: int) -> int:
    """A separate seed for each answer, below 2³¹."""
    return int.from_bytes(sha256(f"{run_seed} {admission} {sample}".encode()).digest()[:4]) >> 1
