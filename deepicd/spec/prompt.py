"""`spec.model.prompt`: what a model is asked about each note."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from deepicd.spec.base import SpecModel

NOTE = "{note}"
"""Where a prompt's `user` has the admission note. Every other brace is text."""
TAGS = ("<think>", "<diagnosis>")
"""What a prompt names, so that an answer can be read."""
MAX_CHARACTERS = 16384
"""Of each text."""


class PromptSpec(SpecModel):
    """What a model is asked about each note: exactly one of `preset`, `file`, `user`."""

    preset: Literal["deepicd"] | None = None
    """`deepicd`: our instruction as the system's turn, then the note alone."""
    file: str | None = None
    """YAML file with `system` and `user`, by its place beside run.yaml. It is read with run.yaml, also by `deepicd submit`;
    with kubectl give the texts themselves."""
    system: str | None = Field(default=None, min_length=1, max_length=MAX_CHARACTERS)
    """The system's turn, beside `user`; left out for a chat template without a system role."""
    user: str | None = Field(default=None, min_length=1, max_length=MAX_CHARACTERS)
    """The user's turn, with `{note}` once. It or `system` names the tags `<think>` and `<diagnosis>`."""

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(given is not None for given in (self.preset, self.file, self.user)) != 1:
            raise ValueError("give exactly one of preset, file, user")
        if self.file is not None:
            raise ValueError("file: is read only beside a run.yaml: give its texts as system and user, or use deepicd submit")
        if self.user is None:
            if self.system is not None:
                raise ValueError("system: goes with user: give both")
            return self
        if (found := self.user.count(NOTE)) != 1:
            raise ValueError(f"user: has {NOTE} {found} times: give it once, where the note goes")
        if self.system is not None and NOTE in self.system:
            raise ValueError(f"system: has {NOTE}: the note goes into user")
        for tag in TAGS:
            if tag not in (self.system or "") + self.user:
                raise ValueError(
                    f"the texts do not name {tag}: ask for the answer as <think>…</think> <diagnosis>…</diagnosis>"
                )
        return self
